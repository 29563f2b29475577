package os_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/relay"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// greeted is what the overlay's service says on the console: owner and mode of its file, and what is in it.
const greeted = "greeting 1000:1001 640 from the overlay"

// greeting is an overlay with a service, a program, a file that is not root's and an authority.
func greeting(authority []byte) []station.File {
	return []station.File{
		{Path: "etc/greeting", Mode: 0o640, UID: 1000, GID: 1001, Text: "from the overlay\n"},
		{Path: "opt/greet", Mode: 0o755, Text: "#!/bin/sh\necho \"$(stat -c 'greeting %u:%g %a' /etc/greeting) $(cat /etc/greeting)\"\n"},
		{Path: "etc/ssl/ember.d/site.pem", Mode: 0o644, Text: string(authority)},
		{Path: "etc/systemd/system/greet.service", Mode: 0o644, Text: "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/opt/greet\nStandardOutput=journal+console\n"},
		{Path: "etc/systemd/system/multi-user.target.wants/greet.service", Target: "../greet.service"},
	}
}

// capped is PCR 11, in which nothing was before, once the machine has its configuration.
func capped() string {
	event := sha256.Sum256([]byte(protocol.CapEvent))
	return fmt.Sprintf("%X", sha256.Sum256(append(make([]byte, sha256.Size), event[:]...)))
}

// withInitrd is a policy for machines whose kernel has measured this initrd, which it does with UEFI.
func withInitrd(t *testing.T, path string) string {
	t.Helper()
	initrd, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("{name: ours, tiers: [attested], events: {9: {require: %x}}, overlay: "+rack+"}", sha256.Sum256(initrd))
}

// TestAttest has a machine attest, fetch its overlay, and start what is in it; then it asks once more.
func TestAttest(t *testing.T) {
	for _, test := range []struct {
		name string
		tpm  vm.TPM
		uefi bool
	}{{"BIOSWithTIS", vm.TIS, false}, {"UEFIWithCRB", vm.CRB, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.seal(greeting(s.lab.CA())...)
			c := s.machine(test.tpm)
			if c.UEFI = test.uefi; test.uefi {
				s.Policy = withInitrd(t, c.Initrd)
			}
			s.start()
			m := vmtest.Start(t, c)
			line := await(m, stage.Attest)
			if line.Get("tier") != string(protocol.Attested) || line.Get("overlay") != "1" {
				t.Errorf("the stage is %v", line)
			}
			says(m, greeted)

			v := s.last()
			if v.Decision != server.Allow || v.Code != server.CodeAllowed || v.Node != line.Get("node") || v.Tier != string(protocol.Attested) ||
				v.Overlay != rack || v.OverlayVersion != 1 || len(s.verdicts()) != 1 {
				t.Errorf("the server's log has %+v", s.verdicts())
			}
			if f := s.fetches(); len(f) != 1 || f[0].Decision != server.Allow || f[0].Code != server.CodeAllowed || f[0].Node != v.Node ||
				f[0].Overlay != rack || f[0].OverlayVersion != 1 || f[0].Bytes == 0 {
				t.Errorf("the server's log has the fetches %+v", f)
			}
			s.awaitReport(v.Node)
			// TLS 1.3 is a turn of each, attesting another one. The overlay is fetched with another connection, and reports
			// have one of their own.
			if got := s.wires.Talk(); len(got) != 3 || !slices.Equal(got[0], []string{relay.Client, relay.Server, relay.Client, relay.Server}) {
				t.Errorf("on the wire were %q", got)
			}
			body := strings.Split(string(s.lab.CA()), "\n")[1]
			for _, test := range []struct{ command, want string }{
				{"cat /sys/class/tpm/tpm0/pcr-sha256/11", capped()},
				{"grep -cF '" + body + "' /etc/ssl/certs/ca-certificates.crt", "1"},
				{"ls /var/lib/ember/overlay | wc -l", "0"},
				{"grep -c '\"Phase\": \"capped\"' /run/ember/attest/state.json", "1"},
			} {
				if got := ask(t, m, test.command); got != test.want {
					t.Errorf("%s\nprints %q, want %q", test.command, got, test.want)
				}
			}
			if err := m.Send("rm /run/ember/attest/state.json; ember attest\n"); err != nil {
				t.Fatal(err)
			}
			says(m, "("+verify.Capped+")")
			if v := s.last(); v.Decision != server.Refuse || v.Code != verify.Capped {
				t.Errorf("who asks once more is answered %+v", v)
			}
		})
	}
}

// sayings are the beginnings of what the machine says of a server.
var (
	noAnswer = (&client.Unreachable{Err: errors.New("")}).Error()
	refuses  = (&client.Refused{}).Error()

	untrusted  = (&client.Untrusted{Err: errors.New("")}).Error()
	wrongClock = (&client.Untrusted{Err: errors.New(""), Clock: true}).Error()
)

// unattested looks at a machine that has not been let in.
func unattested(t *testing.T, m *vmtest.Machine, why string) {
	t.Helper()
	eventually(t, "init to know why", func() bool {
		return ask(t, m, "ember services | grep -A 1 ember-attest.service | grep -c '"+why+"'") == "1"
	})
	for _, test := range []struct{ command, want string }{
		{"ls /etc/greeting /opt/greet /etc/systemd/system/greet.service 2>&1 | grep -c 'No such file'", "3"},
		{"ember services | grep -c multi-user.target", "0"},
		{"grep -c '\"Phase\": \"trying\"' /run/ember/attest/state.json", "1"},
		{"cat /sys/class/tpm/tpm0/pcr-sha256/11", strings.Repeat("0", 64)},
	} {
		if got := ask(t, m, test.command); got != test.want {
			t.Errorf("%s\nprints %q, want %q", test.command, got, test.want)
		}
	}
}

// TestAttestPolicy has a machine that the server's policy does not let in, until the operator changes it.
func TestAttestPolicy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.seal(greeting(s.lab.CA())...)
	s.Policy = "{name: other, tiers: [attested], pcrs: {7: " + strings.Repeat("a", 64) + "}, overlay: " + rack + "}"
	s.start()
	m := vmtest.Start(t, s.machine(vm.TIS))
	line := says(m, refuses)
	if !strings.Contains(line, "("+policy.CodePCR+")") {
		t.Errorf("the machine says %q", line)
	}
	if v := s.last(); v.Decision != server.Refuse || v.Code != policy.CodePCR || !strings.Contains(v.Reason, "other: PCR 7 is") || v.Tier != string(protocol.Attested) {
		t.Errorf("the server's log has %+v", v)
	}
	unattested(t, m, policy.CodePCR)

	s.Policy = station.AnyMachine
	s.configure()
	if line := await(m, stage.Attest); line.Get("overlay") != "1" || line.Get("node") != s.last().Node {
		t.Errorf("the stage is %v", line)
	}
	says(m, greeted)
}

// TestAttestLater has a machine that the server does not know, and no server when it starts.
func TestAttestLater(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.seal(greeting(s.lab.CA())...)
	if err := os.Remove(s.Path("vendors/test.pem")); err != nil {
		t.Fatal(err)
	}
	m := vmtest.Start(t, s.anchored(vm.CRB))
	says(m, noAnswer)
	s.start()
	if line := says(m, refuses); !strings.Contains(line, "("+server.CodeQueued+")") {
		t.Errorf("the machine says %q", line)
	}
	v := s.last()
	if v.Decision != server.Queue || v.Code != server.CodeQueued || v.Tier != string(protocol.None) {
		t.Errorf("the server's log has %+v", v)
	}
	unattested(t, m, server.CodeQueued)

	s.operate("approve", v.Node)
	if line := await(m, stage.Attest); line.Get("tier") != string(protocol.Enrolled) || line.Get("overlay") != "1" || line.Get("node") != v.Node {
		t.Errorf("the stage is %v", line)
	}
	says(m, greeted)
}

// TestAttestWithoutTPM has a machine that can not attest, and does its work.
func TestAttestWithoutTPM(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.seal(greeting(s.lab.CA())...)
	s.start()
	c := s.machine(vm.NoTPM)
	c.Overlay = enabled(map[string]string{"work.service": "[Service]\nType=oneshot\nExecStart=echo working\nStandardOutput=journal+console\n"})
	m := vmtest.Start(t, c)
	line := await(m, stage.Attest)
	if line.Get("tier") != string(protocol.None) || line.Get("overlay") != "none" || line.Get("why") != tpm.ErrNone.Error() {
		t.Errorf("the stage is %v", line)
	}
	says(m, "working")
	if all := s.verdicts(); len(all) > 0 {
		t.Errorf("the server was asked: %+v", all)
	}
}

// TestAttestWrongPin has a machine that is told of another key than the server's. It tells that one nothing.
func TestAttestWrongPin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.seal(greeting(s.lab.CA())...)
	s.start()
	s.Pin[0] ^= 1
	m := vmtest.Start(t, s.machine(vm.TIS))
	line := says(m, untrusted)
	if !strings.Contains(line, "none of those that are pinned") {
		t.Errorf("the machine says %q", line)
	}
	unattested(t, m, "pinned")
	if all := s.verdicts(); len(all) > 0 {
		t.Errorf("the server was asked: %+v", all)
	}
}

// TestAttestClock has machines that believe that it is another year, and no time server.
func TestAttestClock(t *testing.T) {
	for _, year := range []int{1970, 2099} {
		t.Run(fmt.Sprint(year), func(t *testing.T) {
			t.Parallel()
			s := siteOn(t, withoutNTP(lan("boot", "1")))
			s.seal(greeting(s.lab.CA())...)
			s.start()
			c := s.machine(vm.CRB)
			c.RTC = time.Date(year, 1, 2, 3, 4, 5, 0, time.UTC)
			m := vmtest.Start(t, c)
			if line := await(m, stage.Attest); line.Get("overlay") != "1" {
				t.Errorf("the stage is %v", line)
			}
			says(m, greeted)
			at, err := time.Parse(time.RFC3339, ask(t, m, "date -u +%Y-%m-%dT%H:%M:%SZ"))
			if off := time.Since(at).Abs(); err != nil || off > time.Minute {
				t.Errorf("the clock shows %v, %v", at, err)
			}
		})
	}
	t.Run("WithoutPin", func(t *testing.T) {
		t.Parallel()
		s := siteOn(t, withoutNTP(lan("boot", "1")))
		s.seal(greeting(s.lab.CA())...)
		s.start()
		c := s.anchored(vm.CRB)
		c.RTC = time.Date(1970, 1, 2, 3, 4, 5, 0, time.UTC)
		m := vmtest.Start(t, c)
		says(m, wrongClock)
		unattested(t, m, "clock is wrong")
		if all := s.verdicts(); len(all) > 0 {
			t.Errorf("the server was asked: %+v", all)
		}
	})
}

// TestAttestGiant has an overlay that is larger than the machine's memory.
func TestAttestGiant(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.seal(append(greeting(s.lab.CA()), station.File{Path: "opt/giant", Mode: 0o644, Zeros: 1 << 30})...)
	s.start()
	m := vmtest.Start(t, s.machine(vm.CRB))
	need := (&extract.SpaceError{Need: 1<<30 + 1, Dir: "/var/lib/ember/overlay"}).Error()
	line := says(m, "staging overlay "+rack+"-1: "+need[:strings.Index(need, ", which")])
	if !strings.Contains(line, "that is in memory, so give the machine more") {
		t.Errorf("the machine says %q", line)
	}
	unattested(t, m, "staging overlay")
	if log := s.read("audit.log"); strings.Contains(log, `"msg":"fetch"`) {
		t.Errorf("it was fetched:\n%s", log)
	}
}

// TestAttestAfterResets has a machine that is cut off again and again, wherever it is.
func TestAttestAfterResets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.seal(greeting(s.lab.CA())...)
	s.start()
	c := s.machine(vm.CRB)
	c.Dir = t.TempDir()
	for _, where := range []string{stage.Ready, stage.Network, stage.Time, stage.Attest} {
		m := vmtest.Start(t, c)
		await(m, where)
		m.Close()
	}
	m := vmtest.Start(t, c)
	if line := await(m, stage.Attest); line.Get("tier") != string(protocol.Attested) || line.Get("node") != s.last().Node {
		t.Errorf("the stage is %v", line)
	}
	says(m, greeted)
}
