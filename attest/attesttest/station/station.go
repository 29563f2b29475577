// Package station runs an attestation server, the program attestd, with all that belongs to it: the vendor of the
// machines' TPMs, keys, overlays that the program emberctl seals, and the configuration.
//
// All of it is in one folder. The programs run there, so the folder's path may be longer than a socket's. The server
// listens on the loopback address, at ports that are free when it is started first and stay the same after that; what
// brings machines to it is the caller's. What it is set to is the fields of [Station], which Configure writes.
package station

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/os/vm/swtpm"
)

// Files in the folder.
const (
	Configuration = "attestd.yaml"
	Log           = "attestd.log" // of all runs
	Audit         = "audit.log"
	Vendors       = "vendors/test.pem" // whom the server trusts
	Socket        = "data/admin.sock"
)

// Values of Binding.
const (
	Connection = "connection" // with TLS
	Challenge  = "challenge"  // without
)

// Rack is the name of the overlay.
const Rack = "rack"

// AnyMachine is a policy that gives the overlay to every machine that may be one.
const AnyMachine = "{name: any, tiers: [attested, enrolled], overlay: " + Rack + "}"

const anyPort = "127.0.0.1:0"

// Config is what a station is made of.
type Config struct {
	Dir               string // an empty folder
	Attestd, Emberctl string // programs
	Certificate, Key  string // of the server's TLS, files in PEM
	Page              bool   // there is a status page
}

// Station is one.
type Station struct {
	Vendor swtpm.CA   // of the machines' TPMs
	Pin    client.Pin // of the server's key
	Signer string     // of overlays, as machines are told it

	Policy  string   // in YAML; AnyMachine at first
	Binding string   // Connection at first
	Signers []string // of overlays that are served; Signer alone at first
	Sealing []string // more arguments of emberctl seal

	config    Config
	folder    *os.File // through which the socket is found: its path may be too long
	operators *admin.Client
	address   string // of the server, from its first start on
	page      string // likewise
	// What the server was told when it was started last, which can not be exchanged while it runs.
	listen, listenPage string
	attestd            *exec.Cmd
	done               chan struct{} // closed when it has ended
}

// New makes keys, folders and a vendor that the server trusts. It starts nothing.
func New(ctx context.Context, c Config) (*Station, error) {
	s := &Station{Policy: AnyMachine, Binding: Connection, config: c, address: anyPort}
	if c.Page {
		s.page = anyPort
	}
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("preparing an attestation server: %w", err)
	}
	return s, nil
}

func (s *Station) prepare(ctx context.Context) (err error) {
	pair, err := tls.LoadX509KeyPair(s.config.Certificate, s.config.Key)
	if err != nil {
		return err
	}
	s.Pin = client.PinOf(pair.Leaf)
	if s.Signer, err = s.Keygen(ctx, operatorKeys); err != nil {
		return err
	}
	s.Signers = []string{s.Signer}
	if s.Vendor, err = swtpm.OpenCA(s.Path("vendor")); err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(Vendors), "overlays"} {
		if err := os.Mkdir(s.Path(dir), 0o755); err != nil {
			return err
		}
	}
	vendor, err := os.ReadFile(s.Vendor.Cert())
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.Path(Vendors), vendor, 0o644); err != nil {
		return err
	}
	if s.folder, err = os.Open(s.config.Dir); err != nil {
		return err
	}
	s.operators = admin.Unix(fmt.Sprintf("/proc/self/fd/%d/%s", s.folder.Fd(), Socket))
	return nil
}

// Path is that of a file in the folder.
func (s *Station) Path(name string) string { return filepath.Join(s.config.Dir, name) }

// Run runs a program in the folder. Its output is in the error.
func (s *Station) Run(ctx context.Context, stdin io.Reader, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdin = s.config.Dir, stdin
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), args[0], err, out)
	}
	return nil
}

// Operate runs a command of emberctl for operators of the server.
func (s *Station) Operate(ctx context.Context, command string, args ...string) error {
	return s.Run(ctx, nil, s.config.Emberctl, append([]string{command, "--server", "unix:" + Socket}, args...)...)
}

// Operators is the server as operators see it, while it runs.
func (s *Station) Operators() *admin.Client { return s.operators }

// Address is where the server listens for machines, HOST:PORT.
func (s *Station) Address() string { return s.address }

// Page is where the status page is, HOST:PORT.
func (s *Station) Page() string { return s.page }

var serving = regexp.MustCompile(`msg=serving address=([0-9.:]+).*?(?: status=([0-9.:]+))?$`)

// Start configures the server, starts it, and returns when it serves.
func (s *Station) Start(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("starting attestd: %w", err)
	}
	return nil
}

func (s *Station) start(ctx context.Context) error {
	s.listen, s.listenPage = s.address, s.page
	if err := s.Configure(); err != nil {
		return err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.config.Attestd, "serve", "--config", Configuration)
	cmd.Dir = s.config.Dir
	// Ctrl-C is for who runs it, who may still need it, and it ends with that.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.Path(Log), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		log.Close()
		return err
	}
	s.attestd, s.done = cmd, make(chan struct{})
	addresses := make(chan []string, 1)
	go func() {
		defer close(s.done)
		defer log.Close()
		for lines := bufio.NewScanner(io.TeeReader(out, log)); lines.Scan(); {
			if match := serving.FindStringSubmatch(lines.Text()); match != nil {
				addresses <- match
			}
		}
	}()
	select {
	case match := <-addresses:
		s.address, s.page = match[1], match[2]
		return nil
	case <-s.done:
		cmd.Wait()
		s.attestd = nil
		return errors.New("it has ended, and " + s.Path(Log) + " says why")
	case <-ctx.Done():
		s.Stop()
		return context.Cause(ctx)
	}
}

// Stop ends the server, if it runs.
func (s *Station) Stop() {
	if s.attestd == nil {
		return
	}
	s.attestd.Process.Signal(unix.SIGTERM)
	<-s.done
	s.attestd.Wait()
	s.attestd = nil
}
