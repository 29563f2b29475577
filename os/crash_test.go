package os_test

import (
	"strings"
	"testing"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestLastBoot ends machines in several ways, and looks at what the next boot says,
// also to a collector.
func TestLastBoot(t *testing.T) {
	t.Run("EFIVariables", func(t *testing.T) {
		t.Parallel()
		c := config(t)
		c.Dir, c.UEFI, c.Append = t.TempDir(), true, "ember.debug=shell"
		testLastBoot(t, vmtest.Start(t, c), "efi_pstore", func(m *vmtest.Machine) *vmtest.Machine {
			if end := m.End(); end.Reason != vm.Reboot {
				t.Fatalf("the machine ended by %s, want a reboot", end.Reason)
			}
			return vmtest.Start(t, c)
		})
	})
	t.Run("ERST", func(t *testing.T) {
		t.Parallel()
		c := config(t)
		c.Dir, c.ERST, c.Append = t.TempDir(), true, "ember.debug=shell"
		testLastBoot(t, vmtest.Start(t, c), "erst", func(m *vmtest.Machine) *vmtest.Machine {
			if end := m.End(); end.Reason != vm.Reboot {
				t.Fatalf("the machine ended by %s, want a reboot", end.Reason)
			}
			return vmtest.Start(t, c)
		})
	})
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		l := startLab(t, lan("boot", "1"))
		l.Start(lab.Rsyslogd)
		c := config(t)
		c.Append = "ember.debug=shell nokaslr reserve_mem=2M:4096:crash ramoops.mem_name=crash syslog_host=10.0.1.1 ember.syslog=tcp"
		c.NICs = []vm.NIC{l.Port("boot")}
		c.Args = []string{"-action", "reboot=reset"} // the memory is kept, and QEMU does not end
		testLastBoot(t, vmtest.Start(t, c), "ramoops", func(m *vmtest.Machine) *vmtest.Machine { return m })
		// The summary, and the last lines of the kernel that died.
		for _, want := range []struct{ severity, text string }{{"err", "sysrq triggered crash"}, {"warning", "Kernel Offset: disabled"}} {
			l.Message(func(m lab.Message) bool {
				return m.App == "ember-status" && m.Severity == want.severity && strings.Contains(m.Text, want.text)
			})
		}
	})
}

// testLastBoot takes a machine that boots, and keeps crashes in the backend of pstore. next gives the machine after a
// reboot.
func testLastBoot(t *testing.T, m *vmtest.Machine, backend string, next func(*vmtest.Machine) *vmtest.Machine) {
	reboot := func(command string, want ...string) {
		t.Helper()
		if err := m.Send(command + "\n"); err != nil {
			t.Fatal(err)
		}
		m = next(m)
		await(m, stage.Ready)
		for _, want := range want {
			m.Line(func(line string) bool {
				return strings.Contains(line, "ember: status:") && strings.Contains(line, want)
			})
		}
	}
	await(m, stage.Ready)
	if got := ask(t, m, "cat /sys/module/pstore/parameters/backend"); got != backend {
		t.Errorf("crashes are kept in %s, want %s", got, backend)
	}
	reboot("reboot", "reboot: SIGTERM")
	if got := ask(t, m, "ember status | grep -c 'reboot: SIGTERM'"); got != "1" {
		t.Errorf("%s lines of ember status tell the reason", got)
	}
	reboot("echo c >/proc/sysrq-trigger", "Panic", "sysrq triggered crash")
	// It is removed once all of it was told.
	ask(t, m, "until [ -z \"$(ls /sys/fs/pstore)\" ]; do sleep 0.1; done")
}

// TestHang has a kernel that is told to stand still where it would reboot.
func TestHang(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Watchdog, c.Append = true, "ember.debug=shell panic=0"
	m := vmtest.Start(t, c)
	if line := await(m, stage.Watchdog); !strings.Contains(strings.ToLower(line.Get("device")), "6300esb") {
		t.Fatalf("the watchdog is %v", line)
	}
	await(m, stage.Ready)
	if err := m.Send("echo c >/proc/sysrq-trigger\n"); err != nil {
		t.Fatal(err)
	}
	m.Line(func(line string) bool { return strings.Contains(line, "end Kernel panic") })
	if end := m.End(); end.Reason != vm.Reboot {
		t.Errorf("the machine ended by %s, want a reset by the watchdog", end.Reason)
	}
}
