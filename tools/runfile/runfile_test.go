package runfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLocate(t *testing.T) {
	runfiles, cwd := t.TempDir(), t.TempDir()
	t.Setenv("RUNFILES_MANIFEST_FILE", "")
	t.Setenv("RUNFILES_DIR", runfiles)
	t.Setenv("BUILD_WORKING_DIRECTORY", cwd)
	inRunfiles := filepath.Join(runfiles, "_main", "kernel")
	if err := os.MkdirAll(inRunfiles, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/abs":         "/abs",
		"_main/kernel": inRunfiles,
		"my/bzImage":   filepath.Join(cwd, "my/bzImage"),
	} {
		if got := Locate(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}
