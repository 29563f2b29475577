// Package vmtest runs virtual machines in tests: they end with the test, their
// consoles are kept as test outputs, and a wait that fails fails the test with
// the console's last lines.
package vmtest

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/ember-os/ember/os/vm"
)

// KVMEnv is the environment variable that, set to "auto", lets tests use KVM if
// it was proved to work, with the machine's kernel. Without it, or such a kernel, they emulate, which is the same
// everywhere.
const KVMEnv = "EMBER_VM_KVM"

// Patience bounds each wait. It is for what hangs: an idle machine under
// emulation needs a tenth of it.
const Patience = 5 * time.Minute

// File returns the file that the environment variable name names, as
// $(rlocationpath) in the BUILD file or, under plain "go test", as an absolute
// path. The test is skipped where the variable is not set.
func File(t testing.TB, name string) string {
	t.Helper()
	path := os.Getenv(name)
	if path == "" {
		t.Skipf("%s is not set: Bazel sets it", name)
	}
	if filepath.IsAbs(path) {
		return path
	}
	path, err := runfiles.Rlocation(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Outputs returns a new directory for files named after the test, in
// TEST_UNDECLARED_OUTPUTS_DIR, or else the directory otherwise, which is made.
func Outputs(t testing.TB, what, otherwise string) string {
	t.Helper()
	outputs := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR")
	if outputs == "" {
		if err := os.MkdirAll(otherwise, 0o755); err != nil {
			t.Fatal(err)
		}
		return otherwise
	}
	dir, err := os.MkdirTemp(outputs, strings.ReplaceAll(t.Name(), "/", "_")+"."+what+".*")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Machine is a virtual machine of a test.
type Machine struct {
	*vm.Machine
	t testing.TB
}

var probe sync.Once // KVM is probed once for all tests of a process
var kvm bool

// Start starts a machine that is stopped when the test ends. It has one
// processor unless Config.CPUs is set: of those that QEMU 10.0 emulates on a
// busy host, the second sometimes (1 boot in 300) has its timer's interrupt in
// service for ever, and the system waits for that timer.
//
// Config.Dir is the test's temporary directory unless it is set, and Config.Transcript a file
// named after the test, in TEST_UNDECLARED_OUTPUTS_DIR if there is one.
func Start(t testing.TB, c vm.Config) *Machine {
	t.Helper()
	c.CPUs = cmp.Or(c.CPUs, 1)
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if outputs := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR"); c.Transcript == "" && outputs != "" {
		f, err := os.CreateTemp(outputs, strings.ReplaceAll(t.Name(), "/", "_")+".*.log")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		c.Transcript = f.Name()
	}
	if os.Getenv(KVMEnv) == "auto" && c.Kernel != "" {
		probe.Do(func() {
			err := c.ProbeKVM(t.Context())
			kvm = err == nil
			t.Logf("KVM: %v, %v", kvm, err)
		})
		c.KVM = kvm
	}
	m, err := vm.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return &Machine{m, t}
}

// Line returns the next console line that matches.
func (m *Machine) Line(match func(line string) bool) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), Patience)
	defer cancel()
	line, err := m.WaitLine(ctx, match)
	if err != nil {
		m.t.Fatal(err)
	}
	return line
}

// End waits for the machine to end by itself.
func (m *Machine) End() vm.End {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), Patience)
	defer cancel()
	end, err := m.Wait(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	return end
}
