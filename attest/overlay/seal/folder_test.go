package seal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestPublish(t *testing.T) {
	dir := t.TempDir()
	put := func(text string) error {
		return Publish(dir, "rack", func(folder string) error {
			return os.WriteFile(filepath.Join(folder, text), []byte(text), 0o644)
		})
	}
	failed := errors.New("failed")
	for _, err := range []error{put("one"), put("two")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := Publish(dir, "rack", func(string) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("the error is %v", err)
	}
	for folder, want := range map[string]string{dir: "rack", filepath.Join(dir, "rack"): "two"} {
		found, err := os.ReadDir(folder)
		if err != nil || len(found) != 1 || found[0].Name() != want {
			t.Errorf("in %s are %v, %v", folder, found, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "rack")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the folder has the mode %v, %v", info.Mode(), err)
	}
	if err := Publish(filepath.Join(dir, "none"), "rack", func(string) error { return nil }); err == nil {
		t.Error("it is published where there is nothing")
	}
}
