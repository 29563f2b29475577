package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/etcd/etcdtest"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/view"
)

const (
	bound      = "binding: connection\ntls: {certificate: ../tls.pem, key: ../tls-key.pem}\n"
	challenged = "binding: challenge\nproxies: [127.0.0.0/8]\n"
)

// Two servers behind each kind of load balancer. One is killed in the middle of an attestation: nothing is
// lost, and the machine is let in by the other.
func TestServerKilled(t *testing.T) {
	for _, test := range []struct {
		name, text string
		balance    func(*testing.T, *site, ...string) string
		request    int // in which the first server is killed
	}{
		// The connection has been made, and the quote for it is being made.
		{"TCP", bound, func(t *testing.T, _ *site, targets ...string) string { return balance(t, targets...).address() }, 1},
		// The server has given a nonce, which the other one must know.
		{"TLS", challenged, func(t *testing.T, s *site, targets ...string) string { return terminate(t, s.certificate, targets...) }, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			machine, other := session(t, "one"), session(t, "two")
			cluster := etcdtest.Start(t, 1, nil)
			s := newSite(t, cluster[0].Endpoint())
			a, b := s.server(t, "a", test.text), s.server(t, "b", test.text)
			address := test.balance(t, s, a.target(), b.target())

			listed, revoked := strings.Repeat("a", 64), strings.Repeat("b", 64)
			if err := errors.Join(a.admin.Enroll(t.Context(), listed, "rack 4"), b.admin.Revoke(t.Context(), revoked, "stolen")); err != nil {
				t.Fatal(err)
			}
			if err := b.admin.Enroll(t.Context(), listed, ""); !errors.Is(err, store.ErrEnrolled) {
				t.Errorf("enrolled at the other server: %v", err)
			}
			if _, err := s.attest(t, address, other); err != nil {
				t.Fatal(err)
			}
			before := len(decisions(t, b))

			killed := false
			result, err := s.attest(t, s.first(t, test.balance, a, b), &interrupted{machine, test.request, func([]byte) {
				a.Kill()
				killed = true
			}})
			if err != nil || !killed || result.Grant.Node != machine.Node() {
				t.Fatalf("killed %v, %+v, %v", killed, result, err)
			}
			if got := decisions(t, b)[before:]; len(got) != 1 || got[0] != "allow "+machine.Node() {
				t.Errorf("the other server has decided %q", got)
			}
			wantMachines(t, b, listed+" enrolled", revoked+" revoked")
			for _, m := range []*tpm.Session{machine, other} {
				if _, revision, err := s.registry.Last(t.Context(), m.Node()); err != nil || revision == 0 {
					t.Errorf("a last grant of revision %d, %v", revision, err)
				}
			}

			// What was said while it was away is true for it.
			if err := b.admin.Revoke(t.Context(), machine.Node(), "sold"); err != nil {
				t.Fatal(err)
			}
			b.Kill()
			a.Start()
			_, err = s.attest(t, address, machine)
			if refused, ok := errors.AsType[*client.Refused](err); !ok || refused.Code != server.CodeRevoked {
				t.Errorf("a revoked machine: %v", err)
			}
			wantMachines(t, a, listed+" enrolled", revoked+" revoked", machine.Node()+" revoked")
			if _, err := s.attest(t, address, other); err != nil {
				t.Error(err)
			}
		})
	}
}

// first is a balancer that begins with the first of the servers.
func (s *site) first(t *testing.T, balance func(*testing.T, *site, ...string) string, servers ...*spawned) string {
	var targets []string
	for _, p := range servers {
		targets = append(targets, p.target())
	}
	return balance(t, s, targets...)
}

// decisions are those of a server's audit log, with the machines.
func decisions(t *testing.T, p *spawned) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range bytes.Lines(b) {
		var d struct{ Decision, Node string }
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		if d.Decision != "" {
			all = append(all, d.Decision+" "+d.Node)
		}
	}
	return all
}

func wantMachines(t *testing.T, p *spawned, want ...string) {
	t.Helper()
	list, err := p.admin.Nodes(t.Context(), view.Filter{}, "", admin.Page)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list.Nodes {
		if r.Enrolment != "" {
			got = append(got, fmt.Sprintf("%s %s", r.Node, r.Enrolment))
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("machines %q, want %q", got, want)
	}
}

// A machine behind a balancer that ends TLS is cut off in its second round trip, its nonce used up, and is let in
// by its next attempt.
func TestCutOff(t *testing.T) {
	machine := session(t, "one")
	cluster := etcdtest.Start(t, 1, nil)
	s := newSite(t, cluster[0].Endpoint())
	link := balance(t, strings.Replace(cluster[0].Endpoint(), "unix://", "unix:", 1))
	a, b := s.server(t, "a", challenged, "http://"+link.address()), s.server(t, "b", challenged)
	address := terminate(t, s.certificate, b.target(), a.target())
	if _, err := s.attest(t, address, machine); err != nil { // first b, then a, which has a lease for nonces now
		t.Fatal(err)
	}
	nonces, results := make(chan []byte, 1), make(chan error, 1)
	go func() {
		_, err := s.attest(t, address, &interrupted{machine, 2, func(nonce []byte) {
			link.hold()
			nonces <- nonce
		}})
		results <- err
	}()
	nonce := <-nonces
	await(t, "that the nonce is used", func() bool { return s.used(t, nonce) })
	a.Kill()
	if err := <-results; err != nil {
		t.Error(err)
	}
	allowed := []string{"allow " + machine.Node()}
	if got := append(decisions(t, a), decisions(t, b)...); !slices.Equal(got, append(allowed, allowed...)) {
		t.Errorf("decisions %q", got)
	}
	link.release()
}

// A server whose etcd is gone says so, lets nobody in, and does when it is back.
func TestEtcdLost(t *testing.T) {
	machine := session(t, "one")
	cluster := etcdtest.Start(t, 1, nil)
	s := newSite(t, cluster[0].Endpoint())
	p := s.server(t, "a", challenged)
	if status, code, _ := post(t, p, answered(t, p, machine)); status != http.StatusOK {
		t.Fatalf("before: %d %s", status, code)
	}
	cluster[0].Kill()
	var all sync.WaitGroup
	for range 3 {
		request := answered(t, p, machine)
		all.Go(func() {
			if status, code, _ := post(t, p, request); status != http.StatusServiceUnavailable || code != server.CodeStore {
				t.Errorf("without etcd: %d %s", status, code)
			}
		})
	}
	all.Go(func() {
		if err := p.admin.Revoke(t.Context(), machine.Node(), ""); err == nil || !strings.Contains(err.Error(), store.ErrUnavailable.Error()) {
			t.Errorf("an operator without etcd: %v", err)
		}
	})
	all.Wait()
	cluster[0].Start()
	await(t, "that it lets machines in again", func() bool {
		status, _, _ := post(t, p, answered(t, p, machine))
		return status == http.StatusOK
	})
	await(t, "that the log says so", func() bool {
		post(t, p, answered(t, p, machine))
		return strings.Contains(p.Log(), "etcd is back")
	})
	if n := strings.Count(p.Log(), "etcd is lost"); n != 1 {
		t.Errorf("the log says %d times that it is lost", n)
	}
}
