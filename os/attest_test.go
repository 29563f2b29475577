package os_test

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/verify"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// greeted is what the overlay's service says on the console: owner and mode of its file, and what is in it.
const greeted = "greeting 1000:1001 640 from the overlay"

// greeting is an overlay with a service, a program, a file that is not root's and an authority.
func greeting(authority []byte) []tar.Header {
	owned := file("etc/greeting", 0o640, "from the overlay\n")
	owned.Uid, owned.Gid = 1000, 1001
	return []tar.Header{
		owned,
		file("opt/greet", 0o755, "#!/bin/sh\necho \"$(stat -c 'greeting %u:%g %a' /etc/greeting) $(cat /etc/greeting)\"\n"),
		file("etc/ssl/ember.d/site.pem", 0o644, string(authority)),
		file("etc/systemd/system/greet.service", 0o644, "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/opt/greet\nStandardOutput=journal+console\n"),
		{Typeflag: tar.TypeSymlink, Name: "etc/systemd/system/multi-user.target.wants/greet.service", Linkname: "../greet.service", Mode: 0o777},
	}
}

// capped is PCR 11, in which nothing was before, once the machine has its configuration.
func capped() string {
	event := sha256.Sum256([]byte(protocol.CapEvent))
	return fmt.Sprintf("%X", sha256.Sum256(append(make([]byte, sha256.Size), event[:]...)))
}

func says(text string) func(string) bool {
	return func(line string) bool { return strings.Contains(line, text) }
}

// TestAttest has a machine attest, fetch its overlay, and start what is in it; then it asks once more.
func TestAttest(t *testing.T) {
	for _, tpm := range []vm.TPM{vm.TIS, vm.CRB} {
		t.Run(string(tpm), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.seal(greeting(s.lab.CA())...)
			s.start()
			m := vmtest.Start(t, s.machine(tpm))
			line := await(m, stage.Attest)
			if line.Get("tier") != string(protocol.Attested) || line.Get("overlay") != "1" {
				t.Errorf("the stage is %v", line)
			}
			m.Line(says(greeted))

			v := s.last()
			if v.Decision != server.Allow || v.Code != server.CodeAllowed || v.Node != line.Get("node") || v.Tier != string(protocol.Attested) ||
				v.Overlay != rack || v.OverlayVersion != 1 || len(s.verdicts()) != 1 {
				t.Errorf("the server's log has %+v", s.verdicts())
			}
			// TLS 1.3 is a turn of each, attesting another one. The overlay is fetched with another connection.
			if got := s.talk(); len(got) != 2 || !slices.Equal(got[0], []string{byMachine, byServer, byMachine, byServer}) {
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
			m.Line(says("(" + verify.Capped + ")"))
			if v := s.last(); v.Decision != server.Refuse || v.Code != verify.Capped {
				t.Errorf("who asks once more is answered %+v", v)
			}
		})
	}
}
