package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/etcd"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

// programEnv names the program attestd. Tests that kill it are skipped where it is not set.
const programEnv = "ATTESTD"

// site is what servers share.
type site struct {
	dir         string // short, because of sockets'
	certificate *issuer
	store       store.Store // beside the servers
	registry    *store.Registry
	endpoints   []string
}

// newSite makes a site, whose etcd is at endpoints. There must have been a TPM.
func newSite(t *testing.T, endpoints ...string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "attestd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{dir: dir, certificate: newIssuer(t, "attestd.example", nil), endpoints: endpoints}
	s.certificate.writePair(t, dir)
	vendor, err := os.ReadFile(attesttest.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "vendors", "test.pem"), vendor)
	if _, err := server.OpenAuthority(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem"), time.Now()); err != nil {
		t.Fatal(err)
	}
	own, err := etcd.Open(t.Context(), etcd.Config{Endpoints: endpoints, Prefix: defaultPrefix, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	s.store, s.registry = own, store.NewRegistry(own, nil)
	return s
}

// spawned is a server in a process of its own.
type spawned struct {
	t       *testing.T
	dir     string
	address string // of machines; the first that it had
	admin   *admin.Client
	log     *output
	cmd     *exec.Cmd
	done    chan struct{}
}

// server starts one more. Its configuration begins with text; it speaks TLS unless that has a balancer do it.
func (s *site) server(t *testing.T, name, text string, endpoints ...string) *spawned {
	t.Helper()
	if endpoints == nil {
		endpoints = s.endpoints
	}
	p := &spawned{t: t, dir: filepath.Join(s.dir, name), address: "127.0.0.1:0", log: new(output)}
	text += fmt.Sprintf(`
data: data
audit: audit.log
authority: {certificate: ../ca.pem, key: ../ca-key.pem}
store: {etcd: {endpoints: ["%s"]}}
enrolment: {vendors: ../vendors}
limits: {requestsPerMachine: 1000000}
policies: [{name: all, tiers: [attested, enrolled]}]
`, strings.Join(endpoints, `", "`))
	writeFile(t, filepath.Join(p.dir, "attestd.yaml"), []byte(text))
	p.admin = admin.Unix(filepath.Join(p.dir, "data", "admin.sock"))
	t.Cleanup(func() {
		p.admin.HTTP.CloseIdleConnections()
		p.kill()
		if t.Failed() {
			t.Logf("log of server %s:\n%s", name, p.log)
		}
	})
	p.start()
	return p
}

// start starts the server, again where it was, and waits until it serves.
func (p *spawned) start() {
	p.t.Helper()
	p.cmd = exec.CommandContext(context.WithoutCancel(p.t.Context()), vmtest.File(p.t, programEnv),
		"serve", "--config", filepath.Join(p.dir, "attestd.yaml"), "--listen", p.address)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan struct{})
	serves := make(chan string, 1)
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(p.log, lines.Text())
			if _, rest, found := strings.Cut(lines.Text(), "msg=serving address="); found {
				serves <- strings.Fields(rest)[0]
			}
		}
		p.cmd.Wait()
	}()
	select {
	case p.address = <-serves:
	case <-p.done:
		p.t.Fatalf("attestd has ended: %s", p.log)
	case <-time.After(time.Minute):
		p.t.Fatalf("attestd does not serve: %s", p.log)
	}
}

// kill is SIGKILL.
func (p *spawned) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

func (p *spawned) target() string { return "tcp:" + p.address }

// session is a machine whose TPM has an EK of that name.
func session(t *testing.T, name string) *tpm.Session {
	t.Helper()
	s, err := tpm.Start(attesttest.New(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// interrupted is a TPM before whose nth request something happens.
type interrupted struct {
	*tpm.Session
	n      int
	happen func()
}

func (i *interrupted) Request(nonce, hpkeKey, log []byte, claims json.RawMessage) (*protocol.Request, error) {
	if i.n--; i.n == 0 {
		i.happen()
	}
	return i.Session.Request(nonce, hpkeKey, log, claims)
}

// attest is what a machine does.
func (s *site) attest(t *testing.T, address string, machine client.TPM) (*client.Result, error) {
	t.Helper()
	return client.Attest(t.Context(), machine, client.Config{
		URL:    "https://" + address,
		Trust:  client.Trust{Pins: []client.Pin{client.PinOf(s.certificate.certificate)}},
		Claims: protocol.Claims{Image: "v1"},
		Budget: time.Minute,
	})
}
