package server

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

// real is a machine with a TPM.
type real struct {
	*tpm.Session
	tpm    *attesttest.TPM
	log    []byte
	key    hpke.PrivateKey
	events []attesttest.Event
}

func boot(t testing.TB, name string) *real {
	t.Helper()
	m := &real{tpm: attesttest.New(t, name), events: attesttest.Firmware()}
	m.log = m.tpm.Boot(m.events...)
	var err error
	if m.Session, err = tpm.Start(m.tpm); err != nil {
		t.Fatal(err)
	}
	if m.key, err = protocol.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *real) ask(t testing.TB, nonce []byte) *protocol.Request {
	t.Helper()
	r, err := m.Request(nonce, m.key.PublicKey().Bytes(), m.log, json.RawMessage(`{"image":"v1"}`))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// startReal is a server that trusts the test CA, and verifies.
func startReal(t testing.TB, policies string, change ...func(*Config)) *lab {
	l := start(t, policies, change...)
	l.verify = verify.Verify
	l.trust(t, policies, true)
	return l
}

func (l *lab) trust(t testing.TB, policies string, ca bool) {
	t.Helper()
	s := settings(t, policies)
	if ca {
		s.Roots = attesttest.Roots(t)
	}
	s.Overlays = l.settings.Load().Overlays
	l.Replace(s)
}

// exchange is one round trip, whose request is spoiled on the way.
func (l *lab) exchange(t *testing.T, m *real, spoil func(*protocol.Request)) (answer, []byte, *http.Client) {
	t.Helper()
	client, nonce := l.dial(t)
	r := m.ask(t, nonce)
	if spoil != nil {
		spoil(r)
	}
	return l.post(t, client, encode(t, r)), r.Binding(nonce), client
}

func (m *real) open(a answer, binding []byte) (*protocol.Grant, error) {
	response, err := protocol.DecodeResponse(a.body)
	if err != nil {
		return nil, err
	}
	return response.Open(binding, m.key, m.Activate)
}

// rules are a policy of the real values of a machine.
func (m *real) rules(t *testing.T) string {
	t.Helper()
	r := m.ask(t, make([]byte, protocol.NonceSize))
	var only []string
	for _, e := range m.events {
		if e.PCR == 4 {
			sum := sha256.Sum256(e.Data)
			if d := hex.EncodeToString(sum[:]); !slices.Contains(only, d) {
				only = append(only, d)
			}
		}
	}
	return fmt.Sprintf("- {name: real, tiers: [attested, enrolled], pcrs: {7: %x, 11: %x}, events: {4: {require: %s, only: %s}}, overlay: base}",
		r.PCRs[7], r.PCRs[11], only[0], "["+strings.Join(only, ", ")+"]")
}

// The whole way: a TPM, a policy of its values, an overlay, and the overlay again with the TPM's certificate.
func TestRealMachine(t *testing.T) {
	m := boot(t, "real")
	rules := m.rules(t)
	l := startReal(t, rules)
	p := newPress(t, l.registry)
	ciphertext := p.publish(t, manifest.Manifest{Name: "base", Version: 1})
	s := *l.settings.Load()
	var err error
	if s.Overlays, err = p.Read(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	s.PrivateOverlays = true
	l.Replace(&s)

	a, binding, _ := l.exchange(t, m, nil)
	if a.status != 200 {
		t.Fatalf("status %d: %+v, audit %+v", a.status, a.problem, l.last(t))
	}
	g, err := m.open(a, binding)
	if err != nil {
		t.Fatal(err)
	}
	if r := l.last(t); g.Tier != protocol.Attested || g.Node != m.Node() || r.Node != g.Node || r.Policy != "real" || r.EK != "" {
		t.Errorf("grant for %s, audit %+v", g.Node, r)
	}
	client, _ := l.dial(t, tls.Certificate{Certificate: g.Certificates, PrivateKey: m.Signer()})
	resp, err := client.Get("https://example.com/" + g.Overlay.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, resp); got.status != 200 || !bytes.Equal(got.body, ciphertext) {
		t.Errorf("status %d", got.status)
	}

	t.Run("policy of other events", func(t *testing.T) {
		m.events = m.events[:len(m.events)/2]
		l.trust(t, "- {name: p, tiers: [attested], events: {4: {only: "+fmt.Sprintf("%064x", 1)+"}}}", true)
		a, _, _ := l.exchange(t, m, nil)
		l.wantRefused(t, a, 403, policy.CodeEvent)
	})
	t.Run("capped", func(t *testing.T) {
		l.trust(t, rules, true)
		if err := tpm.Cap(m.tpm); err != nil {
			t.Fatal(err)
		}
		a, _, _ := l.exchange(t, m, nil)
		l.wantRefused(t, a, 403, verify.Capped)
	})
}

// A sample of the attacks on which package verify decides comes out of the server, and in the audit log, with
// its reason.
func TestAttacks(t *testing.T) {
	m, other := boot(t, "real"), boot(t, "other")
	l := startReal(t, anyPolicy)
	_, elsewhere := l.dial(t)
	foreign := other.ask(t, elsewhere)
	for _, test := range []struct {
		name  string
		spoil func(*protocol.Request)
		code  string
	}{
		{"replayed", func(r *protocol.Request) { *r = *m.ask(t, elsewhere) }, verify.QuoteBinding},
		{"swapped AK", func(r *protocol.Request) { r.AK = foreign.AK }, verify.QuoteSignature},
		{"swapped quote", func(r *protocol.Request) { r.Quote = foreign.Quote }, verify.QuoteSignature},
		{"altered PCR", func(r *protocol.Request) { r.PCRs[7][0] ^= 1 }, verify.QuoteDigest},
		{"TLS key swapped", func(r *protocol.Request) { r.TLSKey = foreign.TLSKey }, verify.QuoteBinding},
		{"HPKE key swapped", func(r *protocol.Request) { r.HPKEKey = other.key.PublicKey().Bytes() }, verify.QuoteBinding},
		{"header-only log", func(r *protocol.Request) { r.EventLog = attesttest.Log() }, verify.QuoteBinding},
		{"EK of another TPM", func(r *protocol.Request) { r.EK, r.EKCertificates = foreign.EK, foreign.EKCertificates }, verify.QuoteBinding},
		{"certificate of another TPM", func(r *protocol.Request) { r.EKCertificates = foreign.EKCertificates }, verify.EKMismatch},
		{"garbage", func(r *protocol.Request) { r.Quote.Attest = []byte("garbage") }, verify.QuoteSignature},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, _, _ := l.exchange(t, m, test.spoil)
			l.wantRefused(t, a, 403, test.code)
		})
	}
	t.Run("log omits an event", func(t *testing.T) {
		log := m.log
		defer func() { m.log = log }()
		m.log = attesttest.Log(m.events[1:]...)
		a, _, _ := l.exchange(t, m, nil)
		l.wantRefused(t, a, 403, verify.LogReplay)
	})
	t.Run("grant of another TPM", func(t *testing.T) {
		a, binding, _ := l.exchange(t, m, nil)
		if a.status != 200 {
			t.Fatalf("status %d: %+v", a.status, a.problem)
		}
		other.key = m.key // even with the process' key
		if _, err := other.open(a, binding); err == nil {
			t.Error("it was opened")
		}
		if _, err := m.open(a, binding); err != nil {
			t.Error(err)
		}
	})
	t.Run("untrusted CA", func(t *testing.T) {
		l.trust(t, anyPolicy, false)
		defer l.trust(t, anyPolicy, true)
		a, _, _ := l.exchange(t, m, nil)
		l.wantRefused(t, a, 403, CodeQueued)
		if r := l.last(t); r.EK == "" || r.Node != m.Node() {
			t.Errorf("audit %+v", r)
		}
		if err := l.registry.Approve(t.Context(), m.Node(), "", "ann"); err != nil {
			t.Fatal(err)
		}
		a, binding, _ := l.exchange(t, m, nil)
		if g, err := m.open(a, binding); err != nil || g.Tier != protocol.Enrolled {
			t.Errorf("grant %+v, %v", g, err)
		}
	})
	t.Run("revoked", func(t *testing.T) {
		if err := l.registry.Revoke(t.Context(), m.Node(), "", "ann"); err != nil {
			t.Fatal(err)
		}
		a, _, _ := l.exchange(t, m, nil)
		l.wantRefused(t, a, 403, CodeRevoked)
	})
}

// What comes to a machine's client is damaged on the way: its TPM works, so there is no answer, and no failure of it.
func TestGrantDamaged(t *testing.T) {
	m, other := boot(t, "real"), boot(t, "other")
	l := startReal(t, anyPolicy)
	a, _, _ := l.exchange(t, other, nil)
	theirs, err := protocol.DecodeResponse(a.body)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte) { b[len(b)/2] ^= 1 }
	for name, damage := range map[string]func(*protocol.Response){
		"bit flip":               func(r *protocol.Response) { flip(r.Sealed) },
		"bit flip in the blob":   func(r *protocol.Response) { flip(r.CredentialBlob) },
		"bit flip in the secret": func(r *protocol.Response) { flip(r.EncryptedSecret) },
		"credential of another TPM": func(r *protocol.Response) {
			r.CredentialBlob, r.EncryptedSecret = theirs.CredentialBlob, theirs.EncryptedSecret
		},
		"untouched": nil,
	} {
		t.Run(name, func(t *testing.T) {
			between := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := httptest.NewRecorder()
				l.ServeHTTP(answer, r)
				response, err := protocol.DecodeResponse(answer.Body.Bytes())
				if err != nil {
					t.Error(err)
					return
				}
				if damage != nil {
					damage(response)
				}
				writeJSON(w, http.StatusOK, response)
			}))
			defer between.Close()
			_, err := client.Attest(t.Context(), m, client.Config{URL: between.URL, Trust: client.Trust{Pins: []client.Pin{client.PinOf(between.Certificate())}}, Log: m.log})
			if _, gone := errors.AsType[*client.Unreachable](err); gone != (damage != nil) || !gone && err != nil {
				t.Errorf("%T %v", err, err)
			}
		})
	}
}
