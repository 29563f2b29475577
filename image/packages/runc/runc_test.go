// Package runc_test runs the runc of the image.
package runc_test

import (
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
)

func TestVersion(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), vmtest.File(t, "RUNC"), "--version").Output()
	if want := "runc version " + os.Getenv("VERSION") + "\n"; err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

// TestFeatures fails if what containers are confined with was left out.
func TestFeatures(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), vmtest.File(t, "RUNC"), "features").Output()
	if err != nil {
		t.Fatal(err)
	}
	var features struct {
		Linux struct {
			Cgroup  struct{ V2 bool }
			Seccomp struct {
				Enabled bool
				Actions []string
			}
		}
	}
	if err := json.Unmarshal(out, &features); err != nil {
		t.Fatal(err)
	}
	if l := features.Linux; !l.Cgroup.V2 || !l.Seccomp.Enabled || len(l.Seccomp.Actions) == 0 {
		t.Errorf("cgroup version 2 or seccomp is missing: %+v", l)
	}
}

// TestStatic fails if runc needs libraries.
func TestStatic(t *testing.T) {
	f, err := elf.Open(vmtest.File(t, "RUNC"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("needs %q, %v", libraries, err)
	}
}
