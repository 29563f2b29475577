package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
)

func TestSave(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"fragments/base.config": "CONFIG_A=y  # because\n",
		"fragments/nic.config":  "# Network cards.\n",
		"linux/Kconfig":         "config A\n\tbool \"A\"\nconfig B\n\tbool \"B\"\n",
		"before":                "CONFIG_A=y\n# CONFIG_B is not set\n",
		"after":                 "CONFIG_A=y\nCONFIG_B=y\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := files{kconfig: vmtest.File(t, "KCONFIG"), config: filepath.Join(dir, "before"), to: "nic"}
	if err := f.save(filepath.Join(dir, "fragments"), filepath.Join(dir, "linux"), filepath.Join(dir, "after")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"base": "CONFIG_A=y  # because\n",
		"nic":  "# Network cards.\nCONFIG_B=y  # TODO\n",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, "fragments", name+suffix)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
