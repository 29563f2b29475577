package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/cli"
)

// files writes a small source tree, two fragments and two configurations.
func files(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"linux/Kconfig": "config A\n\tbool \"A\"\nconfig B\n\tbool \"B\"\n\tdepends on A\n",
		"a.config":      "CONFIG_A=y  # because\n",
		"b.config":      "CONFIG_B=y  # because\n",
		"before":        "CONFIG_A=y\nCONFIG_B=y\n",
		"after":         "# CONFIG_A is not set\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// run gives the exit status and what was printed on standard error.
func run(t *testing.T, args string) (status int, said string) {
	t.Helper()
	before := os.Stderr
	defer func() { os.Stderr = before }()
	var err error
	if os.Stderr, err = os.CreateTemp(t.TempDir(), ""); err != nil {
		t.Fatal(err)
	}
	defer os.Stderr.Close()
	status = cli.Run("kconfig", usage, strings.Fields(args), commands()...)
	text, err := os.ReadFile(os.Stderr.Name())
	if err != nil {
		t.Fatal(err)
	}
	return status, string(text)
}

func TestRun(t *testing.T) {
	files(t)
	for _, c := range []struct{ args, err string }{
		{"merge --out all a.config b.config", ""},
		{"merge a.config a.config", "CONFIG_A is y at a.config:1 and y at a.config:1: keep one of them"},
		{"save --before before --after after --source linux --to b.config a.config b.config", ""},
	} {
		status, said := run(t, c.args)
		want, wantSaid := 0, ""
		if c.err != "" {
			want, wantSaid = 1, "kconfig: "+c.err+"\n"
		}
		if status != want || said != wantSaid {
			t.Errorf("%s: status %d, %q; want %d, %q", c.args, status, said, want, wantSaid)
		}
	}
	for name, want := range map[string]string{
		"all":      "CONFIG_A=y\nCONFIG_B=y\n",
		"a.config": "CONFIG_A=n  # TODO, as y it was: because\n",
		"b.config": "CONFIG_B=n  # TODO, as y it was: because\n",
	} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestMisuse(t *testing.T) {
	files(t)
	for _, args := range []string{
		"",
		"unknown",
		"merge",
		"merge --unknown a.config",
		"save a.config",
		"save --before before --after after --source linux --to c.config a.config",
	} {
		if status, said := run(t, args); status != 2 || !strings.HasSuffix(said, usage) {
			t.Errorf("%q: status %d, %q", args, status, said)
		}
	}
}
