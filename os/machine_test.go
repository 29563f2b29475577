// Package os_test boots the kernel and the initrd that users get, in virtual
// machines.
package os_test

import (
	"testing"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

func TestMain(m *testing.M) {
	toolroot.Init()
	lab.Init()
	m.Run()
}

// config is a machine with what the build made: 512 MiB, no TPM.
func config(t testing.TB) vm.Config {
	return vm.Config{
		Root:      toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")},
		Kernel:    vmtest.File(t, "KERNEL"),
		Initrd:    vmtest.File(t, "INITRD"),
		MemoryMiB: 512,
	}
}

// await waits for a stage and gives its line.
func await(m *vmtest.Machine, name string) stage.Line {
	line, _ := stage.Parse(m.Line(func(line string) bool {
		l, ok := stage.Parse(line)
		return ok && l.Name == name
	}))
	return line
}
