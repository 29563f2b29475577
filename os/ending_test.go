package os_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestEnding is how each way to end a machine is documented in docs/debugging.md.
func TestEnding(t *testing.T) {
	for _, test := range []struct {
		name   string
		append string
		after  string // the stage after which it is ended
		end    func(*testing.T, *vmtest.Machine) error
		stages []string
		reason string
	}{
		{"Fail", "ember.debug=fail", stage.Start, nil, []string{stage.Failed, stage.Stopping, stage.Stopped}, vm.Reboot},
		{"Panic", "ember.debug=panic", stage.Start, nil, []string{stage.Panic, stage.Stopping, stage.Stopped}, vm.Reboot},
		{"PowerButton", "", stage.Ready, func(t *testing.T, m *vmtest.Machine) error { return m.Powerdown(t.Context()) },
			[]string{stage.Stopping, stage.Stopped}, vm.Poweroff},
		{"CtrlAltDel", "", stage.Ready, func(t *testing.T, m *vmtest.Machine) error { return m.CtrlAltDel(t.Context()) },
			[]string{stage.Stopping, stage.Stopped}, vm.Reboot},
		{"Poweroff", "ember.debug=shell", stage.Ready, func(_ *testing.T, m *vmtest.Machine) error { return m.Send("poweroff\n") },
			[]string{stage.Stopping, stage.Stopped}, vm.Poweroff},
		{"Reboot", "ember.debug=shell", stage.Ready, func(_ *testing.T, m *vmtest.Machine) error { return m.Send("reboot\n") },
			[]string{stage.Stopping, stage.Stopped}, vm.Reboot},
		{"Halt", "ember.debug=shell", stage.Ready, func(_ *testing.T, m *vmtest.Machine) error { return m.Send("halt\n") },
			[]string{stage.Stopping, stage.Stopped}, ""}, // it stands still
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Append = test.append
			m := vmtest.Start(t, c)
			await(m, test.after)
			if test.end != nil {
				if err := test.end(t, m); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range test.stages {
				await(m, name)
			}
			if test.reason == "" {
				m.Line(func(line string) bool { return strings.Contains(line, "System halted") })
				return
			}
			if end := m.End(); end.Reason != test.reason {
				t.Errorf("the machine ended by %s, want %s", end.Reason, test.reason)
			}
		})
	}
}

// TestTruncated cuts the initrd short, in each of its archives. Where init is there, it says what is missing; the machine
// reboots in any case.
func TestTruncated(t *testing.T) {
	whole, err := os.ReadFile(vmtest.File(t, "INITRD"))
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.Index(whole[1:], []byte("\x28\xb5\x2f\xfd")) + 1 // where the second archive, and a frame of zstd, begins
	for name, cut := range map[string]int{"init": first / 2, "programs": first + 200_000, "packed": len(whole) - len(whole)/8} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Append += " panic=1"
			c.Initrd = filepath.Join(t.TempDir(), "initrd")
			if err := os.WriteFile(c.Initrd, whole[:cut], 0o644); err != nil {
				t.Fatal(err)
			}
			m := vmtest.Start(t, c)
			if cut < first {
				m.Line(func(line string) bool { return strings.Contains(line, "Kernel panic") })
			} else if line := await(m, stage.Failed); line.Get("step") != stage.Tree || !strings.Contains(line.Get("error"), "cut short") {
				t.Errorf("the failure is told as %q", line)
			}
			if end := m.End(); end.Reason != vm.Reboot {
				t.Errorf("the machine ended by %s, want a reboot", end.Reason)
			}
		})
	}
}
