package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes the files of a module.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPrepare(t *testing.T) {
	source := write(t, map[string]string{
		"go.mod":                            "module example.org/own\n\ngo 1.26\n",
		"inside/main.go":                    "package main\n\nfunc main() { helper() }\n",
		"inside/helper.go":                  "// Comment.\npackage main\n\nfunc helper() {}\n",
		"vendor/example.com/outside/cmd.go": "package main // import \"x\"\n\nfunc main() {}\n",
	})
	out := t.TempDir()
	if err := prepare(source, out, []string{"a=./inside", "b=example.com/outside"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "overlay.json"))
	if err != nil {
		t.Fatal(err)
	}
	var o overlay
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for path, file := range o.Replace {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got[strings.TrimPrefix(path, source+"/")] = string(text)
	}
	for path, want := range map[string]string{
		"inside/main.go":                    "package program\n\nfunc Main() { helper() }\n",
		"inside/helper.go":                  "// Comment.\npackage program\n\nfunc helper() {}\n",
		"vendor/example.com/outside/cmd.go": "package program // import \"x\"\n\nfunc Main() {}\n",
	} {
		if got[path] != want {
			t.Errorf("%s: %q, want %q", path, got[path], want)
		}
	}
	for _, want := range []string{
		"program0 \"example.org/own/inside\"\n", "program1 \"example.com/outside\"\n",
		"case \"a\":\n\t\tprogram0.Main()\n", "case \"b\":\n\t\tprogram1.Main()\n",
	} {
		if !strings.Contains(got["multicall/main.go"], want) {
			t.Errorf("multicall/main.go has no %q:\n%s", want, got["multicall/main.go"])
		}
	}
}

func TestNotAProgram(t *testing.T) {
	source := write(t, map[string]string{
		"go.mod":         "module example.org/own\n",
		"library/lib.go": "package library\n",
	})
	for program, want := range map[string]string{
		"a=./library": "is a package library, not a program",
		"a=./missing": "making example.org/own/missing importable",
		"a":           "is not NAME=PACKAGE",
	} {
		if err := prepare(source, t.TempDir(), []string{program}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", program, err, want)
		}
	}
}
