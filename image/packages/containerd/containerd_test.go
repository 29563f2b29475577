// Package containerd_test runs the programs of the package containerd.
package containerd_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
)

// run gives what a program prints, called by a link of its name.
func run(t *testing.T, variable, name string, args ...string) (string, error) {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(vmtest.File(t, variable), link); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), link, args...)
	command.Env = []string{"HOME=" + t.TempDir()}
	out, err := command.CombinedOutput()
	return string(out), err
}

func TestVersions(t *testing.T) {
	containerd, nerdctl := os.Getenv("CONTAINERD_VERSION"), os.Getenv("NERDCTL_VERSION")
	for _, test := range []struct{ variable, name, flag, version string }{
		{"PROGRAMS", "containerd", "--version", containerd},
		{"PROGRAMS", "ctr", "--version", containerd},
		{"PROGRAMS", "nerdctl", "--version", nerdctl},
		{"SHIM", "containerd-shim-runc-v2", "-v", containerd},
	} {
		out, err := run(t, test.variable, test.name, test.flag)
		if err != nil || !strings.Contains(out, test.version) {
			t.Errorf("%s says %q, %v, want %s", test.name, out, err, test.version)
		}
	}
	if out, err := run(t, "PROGRAMS", "other", "--version"); err == nil {
		t.Errorf("a name that is none of the programs: %q", out)
	}
}

// TestPlugins fails if what Kubernetes and Tinkerbell need was left out of containerd.
func TestPlugins(t *testing.T) {
	out, err := run(t, "PROGRAMS", "containerd", "config", "default")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"io.containerd.cri.v1.runtime", "io.containerd.snapshotter.v1.overlayfs", "io.containerd.grpc.v1.cri"} {
		if !strings.Contains(out, want) {
			t.Errorf("the default configuration has no %s", want)
		}
	}
}

// TestNerdctl gets as far as one can without containerd.
func TestNerdctl(t *testing.T) {
	out, err := run(t, "PROGRAMS", "nerdctl", "--address", "/nowhere/containerd.sock", "ps")
	if err == nil || !strings.Contains(out, "/nowhere/containerd.sock") {
		t.Errorf("without containerd: %q, %v", out, err)
	}
}

// TestStatic fails if a program needs libraries.
func TestStatic(t *testing.T) {
	for _, variable := range []string{"PROGRAMS", "SHIM"} {
		f, err := elf.Open(vmtest.File(t, variable))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
			t.Errorf("%s needs %q, %v", variable, libraries, err)
		}
	}
}
