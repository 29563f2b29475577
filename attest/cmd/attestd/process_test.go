package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/cmd/attestd/attestdtest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/etcd"
	"github.com/ember-os/ember/attest/tpm"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

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
	*attestdtest.Server
	dir   string
	admin *admin.Client
}

// server starts one more. Its configuration begins with text.
func (s *site) server(t *testing.T, name, text string, endpoints ...string) *spawned {
	t.Helper()
	if endpoints == nil {
		endpoints = s.endpoints
	}
	dir := filepath.Join(s.dir, name)
	text += fmt.Sprintf(`
data: data
audit: audit.log
authority: {certificate: ../ca.pem, key: ../ca-key.pem}
store: {etcd: {endpoints: ["%s"]}}
enrolment: {vendors: ../vendors}
limits: {requestsPerMachine: 1000000, requestsPerAddress: 1000000}
policies: [{name: all, tiers: [attested, enrolled]}]
`, strings.Join(endpoints, `", "`))
	writeFile(t, filepath.Join(dir, "attestd.yaml"), []byte(text))
	p := &spawned{attestdtest.Start(t, dir), dir, admin.Unix(filepath.Join(dir, "data", "admin.sock"))}
	t.Cleanup(p.admin.HTTP.CloseIdleConnections)
	return p
}

func (p *spawned) target() string { return "tcp:" + p.Address }

// session is a machine whose TPM has an EK of that name.
func session(t *testing.T, name string) *tpm.Session {
	t.Helper()
	s, err := tpm.Start(attesttest.New(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// interrupted is a TPM before whose nth request, for that nonce, something happens.
type interrupted struct {
	*tpm.Session
	n      int
	happen func(nonce []byte)
}

func (i *interrupted) Request(nonce, hpkeKey, log []byte, claims json.RawMessage) (*protocol.Request, error) {
	if i.n--; i.n == 0 {
		i.happen(nonce)
	}
	return i.Session.Request(nonce, hpkeKey, log, claims)
}

// attest is what a machine does: it tries again while nobody answers, here for a minute.
func (s *site) attest(t *testing.T, address string, machine client.TPM) (*client.Result, error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		result, err := client.Attest(t.Context(), machine, client.Config{
			URL:    "https://" + address,
			Trust:  client.Trust{Pins: []client.Pin{client.PinOf(s.certificate.certificate)}},
			Claims: protocol.Claims{Image: "v1"},
		})
		if _, gone := errors.AsType[*client.Unreachable](err); !gone || time.Now().After(end) {
			return result, err
		}
	}
}
