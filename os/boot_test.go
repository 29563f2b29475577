package os_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

func TestBoot(t *testing.T) {
	for _, test := range []struct {
		name string
		tpm  vm.TPM
		uefi bool
	}{
		{"BIOS", vm.NoTPM, false},
		{"BIOSWithTIS", vm.TIS, false},
		{"BIOSWithCRB", vm.CRB, false},
		{"UEFI", vm.NoTPM, true},
		{"UEFIWithCRB", vm.CRB, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.TPM, c.UEFI, c.Append = test.tpm, test.uefi, "ember.debug=shell"
			m := vmtest.Start(t, c)
			await(m, stage.Ready)

			tpm := ask(t, m, "test -c /dev/tpmrm0 && echo there || echo none")
			if want := (map[bool]string{true: "there", false: "none"})[test.tpm != vm.NoTPM]; tpm != want {
				t.Errorf("/dev/tpmrm0: %s, want %s", tpm, want)
			}
			efi := ask(t, m, "ls -A /sys/firmware/efi/efivars 2>/dev/null | grep -c Boot || true")
			if (efi != "0" && efi != "") != test.uefi {
				t.Errorf("%q EFI boot variables are visible, with UEFI: %v", efi, test.uefi)
			}
			if test.uefi && test.tpm != vm.NoTPM {
				if size := ask(t, m, "wc -c </sys/kernel/security/tpm0/binary_bios_measurements"); size == "0" || size == "" {
					t.Errorf("the firmware's event log has %q bytes", size)
				}
			}
		})
	}
}

// TestSystem looks at a booted machine as the programs that will run on it do.
func TestSystem(t *testing.T) {
	c := config(t)
	initrd, err := os.Stat(c.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	// Tinkerbell's lines are long: nearly all of the 4096 bytes, and the last word counts.
	c.Append = `ember.debug=shell retain_initrd quoted="two words" long=` + strings.Repeat("x", 3900) + ` ember.log=shout last=word`
	m := vmtest.Start(t, c)
	await(m, stage.Ready)
	for _, test := range []struct{ command, want string }{
		{"cat /proc/1/comm", "init"},
		{"grep -c '^[a-z0-9]* /sys/fs/cgroup cgroup2 ' /proc/mounts", "1"},
		{"for c in cpu memory pids io; do grep -ow $c /sys/fs/cgroup/cgroup.subtree_control; done | paste -sd, -", "cpu,memory,pids,io"},
		{"for m in /sys/fs/bpf /sys/kernel/security /dev/pts /run; do grep -c \" $m \" /proc/mounts; done | paste -sd, -", "1,1,1,1"},
		{"unshare -m sh -c 'mkdir /tmp/r && mount -t tmpfs r /tmp/r && mkdir /tmp/r/old && cd /tmp/r && pivot_root . old && echo pivoted'", "pivoted"},
		{"wc -c </sys/firmware/initrd", strconv.FormatInt(initrd.Size(), 10)},
		{"grep -c 'xxx ember.log=shout last=word$' /proc/cmdline", "1"},
		{"stat -c %a /tmp /run /dev/shm | paste -sd, -", "1777,755,1777"},
		{"grep -c Ember /etc/os-release", "2"},
		{"zcat /proc/config.gz | grep -c CONFIG_MODULES=y", "0"},
		{"grep -c BEGIN /etc/ssl/certs/ca-certificates.crt | grep -qE '^1[0-9][0-9]$' && echo bundle", "bundle"},
	} {
		if got := ask(t, m, test.command); got != test.want {
			t.Errorf("%s\nprints %q, want %q", test.command, got, test.want)
		}
	}
}

// ask types a command into the shell on the console and gives the last line of what it prints.
func ask(t testing.TB, m *vmtest.Machine, command string) string {
	t.Helper()
	// The terminal echoes what is typed: only the printed mark is in one piece. A long line comes in pieces, each of
	// which is written at once with its end, so that others who write on the console do not split it.
	if err := m.Send("{ " + command + "; } 2>&1 | tail -n 1 | awk 1 | fold -w 900 | sed 's/^/answer\"\"=/;s/\"\"//;s/$/;/'; echo end''mark\n"); err != nil {
		t.Fatal(err)
	}
	answer := ""
	m.Line(func(line string) bool {
		if _, text, ok := strings.Cut(line, "answer="); ok {
			answer += strings.TrimSuffix(text, ";")
		}
		return strings.Contains(line, "endmark")
	})
	return strings.TrimSpace(answer)
}
