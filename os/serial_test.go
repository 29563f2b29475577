package os_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestSerialLines has machines with two serial lines, of which the kernel uses the first.
func TestSerialLines(t *testing.T) {
	start := func(t *testing.T, words string) (m *vmtest.Machine, second string) {
		t.Parallel()
		c := config(t)
		c.Serial = filepath.Join(t.TempDir(), "ttyS1")
		if err := os.WriteFile(c.Serial, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		c.Append = "ember.debug=shell " + words
		m = vmtest.Start(t, c)
		await(m, stage.Ready)
		if kind := ask(t, m, "cat /sys/class/tty/ttyS1/type"); kind == "0" {
			t.Fatal("the kernel finds no second line")
		}
		return m, c.Serial
	}
	for name, tt := range map[string]struct{ words, speed, parity string }{
		"All":       {"", "speed 115200", "-parenb"},
		"AllNamed":  {"console=ttyS1,57600e7", "speed 57600", "parenb"},
		"BothNamed": {"console=ttyS1 ember.serial=named", "speed 9600", "-parenb"}, // as without options on the first
	} {
		t.Run(name, func(t *testing.T) {
			m, second := start(t, tt.words)
			for limit := time.Now().Add(vmtest.Patience); !hasStage(readFile(t, second), stage.Ready); time.Sleep(100 * time.Millisecond) {
				if time.Now().After(limit) {
					t.Fatalf("the second line says\n%s", readFile(t, second))
				}
			}
			if !hasStage(readFile(t, second), stage.Start) {
				t.Errorf("the second line does not say how the boot began:\n%s", readFile(t, second))
			}
			for command, want := range map[string]string{
				"cat /sys/class/tty/console/active":                        "ttyS0", // the kernel does not set the second
				"stty -F /dev/ttyS1 -a | grep -o 'speed [0-9]*'":           tt.speed,
				"stty -F /dev/ttyS1 -a | grep -o '[-]*parenb'":             tt.parity,
				"ls -l /proc/[0-9]*/fd/0 | grep -o '/dev/ttyS1' | sort -u": "/dev/ttyS1", // of the shell
			} {
				if got := ask(t, m, command); got != want {
					t.Errorf("%s\nprints %q, want %q", command, got, want)
				}
			}
		})
	}
	t.Run("NotNamed", func(t *testing.T) {
		m, second := start(t, "ember.serial=named")
		if err := m.Send("poweroff\n"); err != nil {
			t.Fatal(err)
		}
		if end := m.End(); end.Reason != vm.Poweroff {
			t.Errorf("the machine ended by %s", end.Reason)
		}
		if said := readFile(t, second); len(said) > 0 {
			t.Errorf("the second line got\n%s", said)
		}
	})
}

// hasStage tells whether a console shows a stage.
func hasStage(console []byte, name string) bool {
	for line := range strings.Lines(string(console)) {
		if l, ok := stage.Parse(line); ok && l.Name == name {
			return true
		}
	}
	return false
}
