package os_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/os/attest"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/swtpm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

const (
	attestAddress  = "10.0.1.1:8443" // of the site in its lab
	configuration  = "attestd.yaml"  // in the site's folder
	rack           = "rack"          // the overlay
	bindConnection = "connection"    // values of binding
	bindChallenge  = "challenge"
	anyMachine     = "{name: any, tiers: [attested, enrolled], overlay: " + rack + "}"
)

// site is a lab with an attestation server, the program attestd, and what makes overlays, the program emberctl.
// Machines reach it through a relay, which knows what was on the wire.
type site struct {
	t       testing.TB
	lab     *lab.Lab
	dir     string   // of the configuration, its files and keys
	vendor  swtpm.CA // of the machines' TPMs
	pin     client.Pin
	key     string   // that overlays are signed with, for machines
	policy  string   // in YAML
	sealing []string // more arguments of emberctl seal
	binding string   // to the connection, with TLS, or by challenge, without
	attestd *exec.Cmd
	address string // of attestd itself, on the host, from its first start on
	listen  string // the same from the second start on, when it is asked for
	done    chan struct{}
	wires   wires
}

// newSite makes keys, and the configuration of a server that trusts the TPMs' vendor. It starts nothing.
func newSite(t testing.TB) *site { return siteOn(t, lan("boot", "1")) }

func siteOn(t testing.TB, boot lab.LAN) *site {
	t.Helper()
	s := &site{t: t, lab: startLab(t, boot), dir: t.TempDir(), policy: anyMachine, binding: bindConnection}
	cert, key := s.lab.Certificate()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s.pin = client.PinOf(pair.Leaf)
	s.emberctl(nil, "keygen", "--out", "keys")
	s.key = strings.TrimSpace(s.read("keys/overlay.keys"))
	if s.vendor, err = swtpm.OpenCA(s.path("vendor")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"vendors", "overlays"} {
		if err := os.Mkdir(s.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write("vendors/test.pem", s.read("vendor/cert.pem"))
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("attestd:\n%s%s", s.read("attestd.log"), s.read("audit.log"))
		}
	})
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// read gives a file, "" if there is none.
func (s *site) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) emberctl(stdin io.Reader, args ...string) {
	s.t.Helper()
	s.run(stdin, vmtest.File(s.t, "EMBERCTL"), args...)
}

// operate runs a command of attestd for operators.
func (s *site) operate(args ...string) {
	s.t.Helper()
	s.run(nil, vmtest.File(s.t, "ATTESTD"), append([]string{args[0], "--config", configuration}, args[1:]...)...)
}

func (s *site) run(stdin io.Reader, program string, args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), program, args...)
	cmd.Dir, cmd.Stdin = s.dir, stdin
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
}

// sealedFile is a file of an overlay.
type sealedFile struct {
	path     string
	mode     int64
	uid, gid int
	text     string
	zeros    int64  // bytes, behind the text
	target   string // of a symbolic link, which it makes the file
}

func (f sealedFile) write(w *tar.Writer) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Uid: f.uid, Gid: f.gid, Size: int64(len(f.text)) + f.zeros}
	if f.target != "" {
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.target, 0o777
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.CopyN(w, io.MultiReader(strings.NewReader(f.text), zeros{}), h.Size)
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// seal publishes a version of the overlay rack.
func (s *site) seal(files ...sealedFile) {
	s.t.Helper()
	archive, writer := io.Pipe()
	defer archive.Close()
	go func() {
		w := tar.NewWriter(writer)
		for _, f := range files {
			if err := f.write(w); err != nil {
				writer.CloseWithError(err)
				return
			}
		}
		writer.CloseWithError(w.Close())
	}()
	s.emberctl(archive, append([]string{"seal", "-", "--name", rack, "--key", "keys/signing.key",
		"--recipient", "keys/attestd.recipient", "--expires", "1d", "--out", "overlays"}, s.sealing...)...)
}

// configure writes the server's configuration, which it reads again if it runs.
func (s *site) configure() {
	s.t.Helper()
	text := `
listen: LISTEN
data: data
audit: audit.log
binding: BINDING
enrolment: {vendors: vendors}
overlays: {folder: overlays, identity: keys/attestd.identity, keys: ["SIGNER"], private: PRIVATE}
policies: [POLICY]
`
	private := "false"
	if s.binding == bindConnection {
		private = "true"
		cert, key := s.lab.Certificate()
		text += "tls: {certificate: " + cert + ", key: " + key + "}\n"
	}
	s.write(configuration, strings.NewReplacer("LISTEN", cmp.Or(s.listen, "127.0.0.1:0"), "BINDING", s.binding, "POLICY", s.policy, "SIGNER", s.key, "PRIVATE", private).Replace(text))
}

var serving = regexp.MustCompile(`msg=serving address=([0-9.:]+)`)

// start starts the server, and the relay to it at attestAddress.
func (s *site) start() {
	s.t.Helper()
	s.serve()
	s.wires.relay(s.lab.Listen("tcp", attestAddress), s.address)
}

// serve starts the server alone.
func (s *site) serve() {
	s.t.Helper()
	s.listen = s.address
	s.configure()
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), vmtest.File(s.t, "ATTESTD"), "serve", "--config", configuration)
	cmd.Dir = s.dir // the path of its socket would be too long otherwise
	out, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := os.OpenFile(s.path("attestd.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.attestd, s.done = cmd, make(chan struct{})
	address := make(chan string, 1)
	go func() {
		defer close(s.done)
		defer log.Close()
		for lines := bufio.NewScanner(io.TeeReader(out, log)); lines.Scan(); {
			if match := serving.FindStringSubmatch(lines.Text()); match != nil {
				address <- match[1]
			}
		}
	}()
	select {
	case s.address = <-address:
	case <-s.done:
		s.t.Fatal("attestd has ended")
	}
}

// stop ends the server.
func (s *site) stop() {
	if s.attestd == nil {
		return
	}
	s.attestd.Process.Signal(unix.SIGTERM)
	<-s.done
	s.attestd.Wait()
	s.attestd = nil
}

// verdict is a line of the audit log about a machine, or a fetch.
type verdict struct {
	Message        string `json:"msg"`
	Decision       server.Verdict
	Code           string
	Reason         string
	Node           string
	Policy         string
	Tier           string
	Overlay        string
	OverlayVersion uint64
	Bytes          int64
}

// verdicts are the server's decisions until now.
func (s *site) verdicts() []verdict { return s.audit("attestation") }

// fetches are those of its overlays.
func (s *site) fetches() []verdict { return s.audit("fetch") }

func (s *site) audit(message string) (all []verdict) {
	s.t.Helper()
	for line := range bytes.Lines([]byte(s.read("audit.log"))) {
		var v verdict
		if err := json.Unmarshal(line, &v); err != nil {
			s.t.Fatalf("the audit log's line %q: %v", line, err)
		}
		if v.Message == message {
			all = append(all, v)
		}
	}
	return all
}

// last is the server's last decision.
func (s *site) last() verdict {
	s.t.Helper()
	all := s.verdicts()
	if len(all) == 0 {
		s.t.Fatal("the server has decided nothing")
	}
	return all[len(all)-1]
}

// awaitReport waits until the machine has proved that it has opened its grant.
func (s *site) awaitReport(node string) {
	s.t.Helper()
	eventually(s.t, "a report of the machine", func() bool {
		return strings.Contains(s.read("audit.log"), `"msg":"report"`) && strings.Contains(s.read("audit.log"), `"node":"`+node+`"`)
	})
}

const shellAndSite = "ember.debug=shell ember.attest_url=https://" + attestAddress

// machine is one that is told of the site, and whom to believe.
func (s *site) machine(tpm vm.TPM) vm.Config {
	c := config(s.t)
	c.TPM, c.CA = tpm, s.vendor
	c.NICs = []vm.NIC{s.lab.Port("boot")}
	c.Append = shellAndSite + " ember.attest_pin=" + s.pin.String() + " ember.overlay_key=" + s.key
	return c
}

// anchored is one whose image says whom to believe; the command line, which says otherwise, does not count.
func (s *site) anchored(tpm vm.TPM) vm.Config {
	c := s.machine(tpm)
	c.Append = shellAndSite + " ember.overlay_key=nobody"
	c.Overlay = []vm.File{
		{Path: attest.Dir + "/ca.pem", Data: string(s.lab.CA())},
		{Path: attest.Dir + "/overlay.keys", Data: s.key + "\n"},
	}
	return c
}
