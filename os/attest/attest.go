// Package attest is the program that proves to a server what this machine is and applies the configuration that
// it gets for that, the overlay: docs/attestation.md.
//
// Package attest/client asks the server, attest/tpm has the machine's side of the proof, attest/overlay the
// overlay. This one has the order of things: the TPM's keys while the network comes up, one request, the clock if
// it was in doubt, the overlay unpacked beside the root and only then put into it, PCR 11 capped, and init told,
// which starts the workload after that. What fails is tried again, for ever; what would leave half an overlay in
// the root, or a TPM that can attest once more, ends in a reboot.
package attest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/clock"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/version"
	"golang.org/x/sys/unix"
)

const usage = `usage: ember attest

Proves to a server what this machine is, and applies the configuration that it
gives. init starts it.
`

const (
	dmi        = "/sys/class/dmi/id"
	clockError = 2 * time.Second // that is left as it is
)

// Main is the program.
func Main(args []string) int {
	return cli.Run("ember attest", usage, args, cli.Command{Run: run})
}

func run(ctx context.Context, args []string) error {
	if err := cli.NoArguments(args); err != nil {
		return err
	}
	config, _, err := cmdline.Read() // init reports the mistakes
	if err != nil {
		return err
	}
	if config.Attest.URL == "" {
		return fmt.Errorf("%s is not given, so there is nobody to attest to", cmdline.AttestURLParam)
	}
	if err := os.MkdirAll(Run, 0o755); err != nil {
		return fmt.Errorf("making the directory of the attestation: %w", err)
	}
	unlock, err := lock(Run)
	if err != nil {
		return err
	}
	p := newProgram(config)
	m := p.machine()
	// Who attests once more need not wait for the reports.
	if err := errors.Join(m.run(ctx), unlock()); err != nil {
		m.reports.stop()
		return err
	}
	m.reports.wait()
	return nil
}

func newProgram(c cmdline.Config) *program {
	return &program{params: c.Attest, log: logline.New(os.Stderr, min(c.Log, slog.LevelInfo)), anchors: Dir, staging: staging, root: "/",
		system: x509.SystemCertPool, kernel: kernel, initrds: initrds}
}

// machine is the flow on a real machine.
func (p *program) machine() machine {
	return machine{
		log:      p.log,
		dir:      Run,
		tpm:      func() (session, error) { return openTPM(tpm.Device) },
		network:  p.awaitNetwork,
		attest:   p.attest,
		setClock: p.setClock,
		stage:    p.stage,
		report:   p.report,
		trust:    trust,
		capTPM:   func() error { return capTPM(tpm.Device) },
		reboot:   func() error { return syscall.Kill(1, syscall.SIGTERM) },
		notify: func(state string) error {
			_, err := daemon.SdNotify(false, state)
			return err
		},
		sleep: sleep,
		state: State{Server: p.params.URL},
	}
}

// lock keeps a second program from doing the same at the same time.
func lock(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of the attestation: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, errors.New("another \"ember attest\" is running; \"ember services\" says how far it is")
	}
	return f.Close, nil
}

// program is the flow's functions on a real machine.
type program struct {
	params  cmdline.Attest
	log     *slog.Logger
	anchors string // the directory
	staging string // another one, which is made and emptied
	root    string // that the overlay goes to
	system  func() (*x509.CertPool, error)
	kernel  func() (manifest.Digest, error) // that runs
	// initrds are what was booted may be called, if kept for certain.
	initrds func() (all []manifest.Digest, kept bool, err error)

	least Least  // the oldest overlay that is still good
	copy  string // the file that gets a copy of an overlay as it comes; "" for none

	from     string  // where the system came from, for protocol.Claims; "" for not known
	hostname string  // as the network's daemon knows it
	sealed   *Sealed // the overlay that was unpacked last; nil if none was
}

// Least is the oldest version of an overlay that is still good.
type Least struct {
	Name    string
	Version uint64
}

// awaitNetwork waits for a default route, or for addresses where the network's daemon looks for no more.
func (p *program) awaitNetwork(ctx context.Context) error {
	s, err := netstate.Await(ctx, netstate.Path, reachable)
	p.hostname = s.Hostname
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func reachable(s netstate.State) bool {
	if s.Online {
		return true
	}
	for _, l := range s.Links {
		if s.Settled && len(l.Addresses) > 0 {
			return true
		}
	}
	return false
}

// config is of the server, with whom the machine believes now.
func (p *program) config() (client.Config, anchors, error) {
	a, err := readAnchors(p.anchors, p.params, p.system)
	if err != nil {
		return client.Config{}, a, unfit{err}
	}
	if _, err := client.ParseURL(p.params.URL); err != nil {
		return client.Config{}, a, unfit{fmt.Errorf("%s: %w", cmdline.AttestURLParam, err)}
	}
	return client.Config{
		URL:   p.params.URL,
		Trust: a.trust,
		Clock: client.Judge(time.Now(), stage.Now(), version.Built()),
		Proxy: http.ProxyFromEnvironment,
	}, a, nil
}

func (p *program) attest(ctx context.Context, s session) (*client.Result, error) {
	c, _, err := p.config()
	if err != nil {
		return nil, err
	}
	if c.Log, err = tpm.EventLog(); err != nil {
		return nil, err
	}
	c.Claims = protocol.Claims{Image: version.Version, Hostname: p.hostname, Boot: p.from,
		Vendor: dmiString("sys_vendor"), Model: dmiString("product_name"), Serial: dmiString("product_serial")}
	result, err := client.Attest(ctx, s, c)
	return result, lasting(err)
}

// dmiString is what the firmware says of the machine, "" if it says nothing.
func dmiString(name string) string {
	text, err := os.ReadFile(filepath.Join(dmi, name))
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(text)), "?")
}

// setClock sets the clock to the server's.
func (p *program) setClock(at time.Time) error {
	offset := time.Until(at)
	if offset.Abs() < clockError {
		return nil
	}
	if err := (clock.System{}).Step(offset); err != nil {
		return err
	}
	p.log.Info("setting the clock to the attestation server's", "now", at.UTC().Format(time.RFC3339), "offset", offset.Round(time.Second))
	return nil
}

// trust has "ember trust" read the overlay's authorities: a process of its own, since it parses them.
func trust(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "trust")
	cmd.Args[0] = "ember"
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
