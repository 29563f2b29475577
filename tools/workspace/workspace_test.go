package workspace

import (
	"os"
	"testing"
)

func TestEnter(t *testing.T) {
	t.Chdir(t.TempDir()) // back afterwards
	t.Setenv(variable, "")
	const want = "this program changes the workspace: start it by bazel run //:tidy"
	if err := Enter("//:tidy"); err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	dir := t.TempDir()
	t.Setenv(variable, dir)
	if err := Enter("//:tidy"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.Getwd(); err != nil || got != dir {
		t.Errorf("in %s, %v; want %s", got, err, dir)
	}
}
