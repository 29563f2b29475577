package os_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/attest/view"
	"github.com/ember-os/ember/os/attest"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/status"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/relay"
	"github.com/ember-os/ember/os/vm/vmtest"
)

const (
	attestAddress = "10.0.1.1:8443" // of the site in its lab
	rack          = station.Rack
)

// site is a lab with an attestation server. Machines reach it through a relay, which knows what was on the wire.
type site struct {
	*station.Station
	t     testing.TB
	lab   *lab.Lab
	wires relay.Relay
}

// newSite makes keys, and the configuration of a server that trusts the TPMs' vendor. It starts nothing.
func newSite(t testing.TB) *site { return siteOn(t, lan("boot", "1")) }

func siteOn(t testing.TB, boot lab.LAN) *site {
	t.Helper()
	s := &site{t: t, lab: startLab(t, boot)}
	c := station.Config{Dir: t.TempDir(), Attestd: vmtest.File(t, "ATTESTD"), Emberctl: vmtest.File(t, "EMBERCTL")}
	c.Certificate, c.Key = s.lab.Certificate()
	var err error
	s.Station, err = station.New(t.Context(), c)
	s.must(err)
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("attestd:\n%s%s", s.read(station.Log), s.read(station.Audit))
		}
	})
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// read gives a file, "" if there is none.
func (s *site) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.Path(name))
	if !errors.Is(err, fs.ErrNotExist) {
		s.must(err)
	}
	return string(b)
}

func (s *site) write(name, text string) {
	s.t.Helper()
	s.must(os.WriteFile(s.Path(name), []byte(text), 0o600))
}

// operate runs a command of emberctl for operators.
func (s *site) operate(args ...string) {
	s.t.Helper()
	s.must(s.Operate(s.t.Context(), args[0], args[1:]...))
}

// seal publishes a version of the overlay rack.
func (s *site) seal(files ...station.File) {
	s.t.Helper()
	s.must(s.Seal(s.t.Context(), files...))
}

// configure writes the server's configuration, which it reads again if it runs.
func (s *site) configure() {
	s.t.Helper()
	s.must(s.Configure())
}

// start starts the server, and the relay to it at attestAddress.
func (s *site) start() {
	s.t.Helper()
	s.serve()
	go s.wires.Serve(s.lab.Listen("tcp", attestAddress), s.Address())
}

// serve starts the server alone.
func (s *site) serve() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), vmtest.Patience)
	defer cancel()
	s.must(s.Start(ctx))
}

// verdicts are the server's decisions until now.
func (s *site) verdicts() []station.Verdict { return s.audit("attestation") }

// fetches are those of its overlays.
func (s *site) fetches() []station.Verdict { return s.audit("fetch") }

func (s *site) audit(message string) []station.Verdict {
	s.t.Helper()
	all, err := s.Verdicts(message)
	s.must(err)
	return all
}

// last is the server's last decision.
func (s *site) last() station.Verdict {
	s.t.Helper()
	all := s.verdicts()
	if len(all) == 0 {
		s.t.Fatal("the server has decided nothing")
	}
	return all[len(all)-1]
}

// awaitReport waits until operators see that the machine has opened its grant, and what it says of itself.
func (s *site) awaitReport(node string) {
	s.t.Helper()
	var n view.Node
	eventually(s.t, "a report of the machine, with its status", func() bool {
		var err error
		n, err = s.Operators().Node(s.t.Context(), node)
		s.must(err)
		return len(n.Boots) > 0 && len(n.Boots[0].Status) > 0
	})
	var has status.Report
	s.must(json.Unmarshal(n.Boots[0].Status, &has))
	stages := n.Boots[0].Stages
	if n.State != view.Attested || len(stages) == 0 || stages[0].Name != stage.Start || stages[0].T == 0 ||
		has.Kernel == "" || has.Hardware.TPM == nil || has.Hardware.TPM.Version != "2.0" {
		s.t.Errorf("operators see the machine as %+v, and its status as %+v", n, has)
	}
}

const shellAndSite = "ember.debug=shell ember.attest_url=https://" + attestAddress

// machine is one that is told of the site, and whom to believe.
func (s *site) machine(tpm vm.TPM) vm.Config {
	c := config(s.t)
	c.TPM, c.CA = tpm, s.Vendor
	c.NICs = []vm.NIC{s.lab.Port("boot")}
	c.Append = shellAndSite + " ember.attest_pin=" + s.Pin.String() + " ember.overlay_key=" + s.Signer
	return c
}

// anchored is one whose image says whom to believe; the command line, which says otherwise, does not count.
func (s *site) anchored(tpm vm.TPM) vm.Config {
	c := s.machine(tpm)
	c.Append = shellAndSite + " ember.overlay_key=nobody"
	c.Overlay = []vm.File{
		{Path: attest.Dir + "/ca.pem", Data: string(s.lab.CA())},
		{Path: attest.Dir + "/overlay.keys", Data: s.Signer + "\n"},
	}
	return c
}
