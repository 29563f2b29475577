package unit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// programOutput runs the program with its standard output in a file.
func programOutput(t *testing.T, args ...string) (int, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stdout")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old := os.Stdout
	os.Stdout = f
	defer func() { os.Stdout = old }()
	status := Main(args)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return status, string(text)
}

func TestMainProgram(t *testing.T) {
	dir := root(t, map[string]string{
		"usr:multi-user.target":               "[Unit]\nDescription=all\n",
		"multi-user.target.wants/a@1.service": "-> /usr/lib/systemd/system/a@.service",
		"usr:a@.service":                      run,
	})
	for _, c := range []struct {
		args  []string
		names []string
	}{
		{[]string{"--root", dir}, []string{"a@1.service", "multi-user.target"}},
		{[]string{"--root", dir, "a@x.service", "gone.target"}, []string{"a@x.service", "gone.target"}},
	} {
		status, text := programOutput(t, c.args...)
		units, err := Decode(strings.NewReader(text))
		if status != 0 || err != nil || len(units) != len(c.names) {
			t.Fatalf("%q: status %d, %+v, %v", c.args, status, units, err)
		}
		for i, name := range c.names {
			if units[i].Name != name {
				t.Errorf("%q: %s", c.args, units[i].Name)
			}
		}
	}
	if status, text := programOutput(t, "--root", dir, "a/b"); status != 2 || text != "" {
		t.Errorf("status %d, %q", status, text)
	}
}
