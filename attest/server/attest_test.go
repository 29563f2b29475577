package server

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/verify"
)

func TestGrant(t *testing.T) {
	l := start(t, "- {name: racks, tiers: [attested]}")
	m := newMachine(t, "a")
	g := l.grant(t, m)
	if g.Node != m.node() || g.Tier != protocol.Attested || g.Overlay != nil || !g.Time.Equal(l.Now().UTC().Truncate(time.Second)) {
		t.Errorf("grant %+v", g)
	}
	var chain []*x509.Certificate
	for _, der := range g.Certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	leaf := chain[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: l.Authority.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: l.Now()})
	if err != nil || len(chain) != 2 || !m.key.PublicKey.Equal(leaf.PublicKey) || leaf.Subject.CommonName != m.node() || leaf.Subject.OrganizationalUnit[0] != "attested" {
		t.Errorf("certificate for %v, %v", leaf.Subject, err)
	}
	if life := leaf.NotAfter.Sub(l.Now()); life > certificateLife || life < certificateLife-2*time.Second {
		t.Errorf("it lives for %v", life)
	}
	r := l.last(t)
	if r.Msg != "attestation" || r.Decision != "allow" || r.Code != "ok" || r.Node != m.node() || r.Policy != "racks" || r.Tier != "attested" || r.Image != "v1" ||
		r.Address != "127.0.0.1" || r.Certificate != leaf.SerialNumber.Text(16) || r.Milliseconds == nil || r.Time.IsZero() || r.Level != nil {
		t.Errorf("audit %+v", r)
	}
	last, _, err := l.registry.Last(t.Context(), m.node())
	if err != nil || last.Policy != "racks" || last.Address != "127.0.0.1" || last.Claims.Serial != "S1" {
		t.Errorf("noted %+v, %v", last, err)
	}
}

// Refusals of package verify come out as they are; with them those of the server itself.
func TestRefusals(t *testing.T) {
	giant := func(r *protocol.Request) { r.EventLog = make([]byte, protocol.MaxLog+1) }
	for _, test := range []struct {
		name     string
		late     func(*protocol.Request)
		verified func(*protocol.Request, []byte, verify.Options) (*verify.Evidence, error)
		status   int
		code     string
	}{
		{"refused by verify", nil, func(*protocol.Request, []byte, verify.Options) (*verify.Evidence, error) {
			return nil, &verify.Refusal{Code: "ak-not-restricted", Message: "the AK signs anything"}
		}, 403, "ak-not-restricted"},
		{"verify fails", nil, func(*protocol.Request, []byte, verify.Options) (*verify.Evidence, error) {
			return nil, errors.New("secret detail")
		}, 500, CodeInternal},
		{"quote is for something else", func(r *protocol.Request) { r.Quote.Attest = nil }, nil, 403, "quote-nonce"},
		{"TLS key swapped", func(r *protocol.Request) { r.TLSKey = []byte("other") }, nil, 403, "quote-nonce"},
		{"HPKE key swapped", func(r *protocol.Request) { r.HPKEKey[9] ^= 1 }, nil, 403, "quote-nonce"},
		{"log over 1 MiB", giant, nil, 400, CodeMalformed},
		{"wrong version", func(r *protocol.Request) { r.Version = 2 }, nil, 400, CodeMalformed},
		{"nonce without a challenge", func(r *protocol.Request) { r.Nonce = make([]byte, protocol.NonceSize) }, nil, 400, CodeNonceUnexpected},
		{"no policy", nil, nil, 403, policy.CodePCR},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := start(t, "- {name: p, tiers: [attested], pcrs: {7: "+strings.Repeat("08", 32)+"}}")
			if test.verified != nil {
				l.verified = test.verified
			}
			m := newMachine(t, "a")
			m.late = test.late
			a := l.attest(t, m)
			l.wantRefused(t, a, test.status, test.code)
			if strings.Contains(string(a.body), "secret") || strings.Contains(string(a.body), "0707") {
				t.Errorf("the machine is told %s", a.body)
			}
		})
	}
}

func TestQuote(t *testing.T) {
	t.Run("replayed", func(t *testing.T) {
		l := start(t, anyPolicy)
		client, nonce := l.dial(t)
		b, err := io.ReadAll(encode(t, newMachine(t, "a").request(t, nonce)))
		if err != nil {
			t.Fatal(err)
		}
		if a := l.post(t, client, bytes.NewReader(b)); a.status != 200 {
			t.Fatalf("status %d", a.status)
		}
		other, _ := l.dial(t)
		l.wantRefused(t, l.post(t, other, bytes.NewReader(b)), 403, "quote-nonce")
	})
	t.Run("other connection's exporter", func(t *testing.T) {
		l := start(t, anyPolicy)
		_, theirs := l.dial(t)
		client, _ := l.dial(t)
		l.wantRefused(t, l.post(t, client, encode(t, newMachine(t, "a").request(t, theirs))), 403, "quote-nonce")
	})
	t.Run("without TLS", func(t *testing.T) {
		l := start(t, anyPolicy)
		w, r := l.recorded(t, newMachine(t, "a").request(t, nil))
		l.ServeHTTP(w, r)
		l.wantRefused(t, read(t, w.Result()), 400, CodeNotBound)
	})
}

func TestHTTP(t *testing.T) {
	l := start(t, anyPolicy)
	for name, test := range map[string]struct {
		body   io.Reader
		status int
		code   string
	}{
		"not JSON":       {strings.NewReader("{"), 400, CodeMalformed},
		"empty":          {strings.NewReader(""), 400, CodeMalformed},
		"unknown field":  {strings.NewReader(`{"version":1,"tpm":1}`), 400, CodeMalformed},
		"too large":      {bytes.NewReader(make([]byte, protocol.MaxRequest+1)), 413, CodeTooLarge},
		"endless":        {io.LimitReader(endless{}, 1<<30), 413, CodeTooLarge},
		"deep":           {strings.NewReader(strings.Repeat("[", 1<<20)), 400, CodeMalformed},
		"two documents":  {io.MultiReader(encode(t, newMachine(t, "a").request(t, nil)), strings.NewReader("{}")), 400, CodeMalformed},
		"wrong PCRs":     {strings.NewReader(`{"version":1,"pcrs":[]}`), 400, CodeMalformed},
		"trailing bytes": {io.MultiReader(encode(t, newMachine(t, "a").request(t, nil)), strings.NewReader("x")), 400, CodeMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := l.dial(t)
			resp, err := client.Post("https://example.com"+protocol.Path, "application/json", test.body)
			if err != nil { // the server may hang up before all is sent; what it decided counts
				if r := l.last(t); r.Code != test.code {
					t.Errorf("%v; the audit log has %+v", err, r)
				}
				return
			}
			l.wantRefused(t, read(t, resp), test.status, test.code)
		})
	}
	t.Run("other method", func(t *testing.T) {
		client, _ := l.dial(t)
		resp, err := client.Get("https://example.com" + protocol.Path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// A request that is cut short is written down, and nothing else comes of it.
func TestIncomplete(t *testing.T) {
	l := start(t, anyPolicy)
	client, _ := l.dial(t)
	body, end := io.Pipe()
	go func() {
		io.WriteString(end, `{"version":1`)
		end.CloseWithError(errors.New("power cut"))
	}()
	if _, err := client.Post("https://example.com"+protocol.Path, "application/json", body); err == nil {
		t.Fatal("there was an answer")
	}
	await(t, func() bool { return strings.Contains(l.audit.String(), CodeIncomplete) })
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}

func TestPanic(t *testing.T) {
	l := start(t, anyPolicy)
	l.verified = func(*protocol.Request, []byte, verify.Options) (*verify.Evidence, error) { panic("nil pointer") }
	l.wantRefused(t, l.attest(t, newMachine(t, "a")), 500, CodeInternal)
	if !strings.Contains(l.log.String(), "nil pointer") {
		t.Errorf("the log has %q", l.log)
	}
	l.verified = func(*protocol.Request, []byte, verify.Options) (*verify.Evidence, error) {
		return nil, &verify.Refusal{Code: verify.Fault, Message: "the verifier fails", Panic: "out of range", Stack: "line 7"}
	}
	a := l.attest(t, newMachine(t, "a"))
	l.wantRefused(t, a, 403, verify.Fault)
	if log := l.log.String(); !strings.Contains(log, "out of range") || !strings.Contains(log, "line 7") || bytes.Contains(a.body, []byte("out of range")) {
		t.Errorf("the log has %q, the machine is told %s", log, a.body)
	}
	l.verified = attested
	l.grant(t, newMachine(t, "a"))
}

func TestChallenge(t *testing.T) {
	ask := func(t *testing.T, l *lab, m *machine, nonce []byte) answer {
		t.Helper()
		client, exporter := l.dial(t)
		bound := nonce
		if nonce == nil {
			bound = exporter
		}
		m.edit = func(r *protocol.Request) { r.Nonce = nonce }
		return l.post(t, client, encode(t, m.request(t, bound)))
	}
	challenged := func(t *testing.T, a answer) []byte {
		t.Helper()
		var c protocol.Challenge
		if err := json.Unmarshal(a.body, &c); err != nil || a.status != 428 || len(c.Nonce) != protocol.NonceSize {
			t.Fatalf("status %d: %s", a.status, a.body)
		}
		return c.Nonce
	}
	begin := func(t *testing.T) (*lab, *machine) {
		l, m := start(t, anyPolicy, func(c *Config) { c.Challenge = true }), newMachine(t, "a")
		return l, m
	}
	t.Run("answered", func(t *testing.T) {
		l, m := begin(t)
		nonce := challenged(t, ask(t, l, m, nil))
		if n := len(l.records(t)); n != 0 {
			t.Errorf("a challenge is %d decisions", n)
		}
		m.edit = func(r *protocol.Request) { r.Nonce = nonce }
		client, _ := l.dial(t)
		r := m.request(t, nonce)
		m.open(t, r.Binding(nonce), l.post(t, client, encode(t, r)))
	})
	t.Run("used twice", func(t *testing.T) {
		l, m := begin(t)
		nonce := challenged(t, ask(t, l, m, nil))
		if a := ask(t, l, m, nonce); a.status != 200 {
			t.Fatalf("status %d: %+v", a.status, a.problem)
		}
		l.wantRefused(t, ask(t, l, m, nonce), 403, CodeNonceUsed)
	})
	t.Run("quote for another nonce", func(t *testing.T) {
		l, m := begin(t)
		first, second := challenged(t, ask(t, l, m, nil)), challenged(t, ask(t, l, m, nil))
		client, _ := l.dial(t)
		m.edit, m.late = nil, func(r *protocol.Request) { r.Nonce = second }
		l.wantRefused(t, l.post(t, client, encode(t, m.request(t, first))), 403, "quote-nonce")
		m.late = nil
		if a := ask(t, l, m, second); a.status != 200 { // a wrong answer used up nothing
			t.Errorf("status %d: %+v", a.status, a.problem)
		}
	})
	t.Run("too old", func(t *testing.T) {
		l, m := begin(t)
		nonce := challenged(t, ask(t, l, m, nil))
		l.pass(nonceLife + 2*time.Second)
		fresh := challenged(t, ask(t, l, m, nonce))
		if r := l.last(t); r.Code != CodeNonceExpired || r.Decision != "refuse" {
			t.Errorf("audit %+v", r)
		}
		if a := ask(t, l, m, fresh); a.status != 200 {
			t.Errorf("status %d: %+v", a.status, a.problem)
		}
	})
	t.Run("made up", func(t *testing.T) {
		l, m := begin(t)
		nonce := challenged(t, ask(t, l, m, nil))
		for i := range nonce {
			forged := bytes.Clone(nonce)
			forged[i] ^= 1
			l.wantRefused(t, ask(t, l, m, forged), 403, CodeNonceUnknown)
		}
	})
}

// No grant without a line in the audit log, no secret in it.
func TestAuditFails(t *testing.T) {
	l := start(t, anyPolicy, func(c *Config) {
		c.Audit = NewAudit(full{}, func(error) {})
	})
	if a := l.attest(t, newMachine(t, "a")); a.status != 500 || a.problem.Code != CodeInternal {
		t.Errorf("status %d: %+v", a.status, a.problem)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// What a machine says of itself can neither forge a line nor fill the disk.
func TestAuditOfClaims(t *testing.T) {
	l := start(t, anyPolicy)
	m := newMachine(t, "a")
	long := "v1\n{\"decision\":\"allow\"}" + strings.Repeat("x", 10<<10)
	m.edit = func(r *protocol.Request) {
		r.Claims, _ = json.Marshal(protocol.Claims{Image: long, Serial: long})
	}
	l.grant(t, m)
	if text := l.audit.String(); strings.Count(text, "\n") != 1 || len(text) > 2*maxText {
		t.Errorf("audit %q", text)
	}
	if r := l.last(t); r.Image != long[:maxText] {
		t.Errorf("image %q", r.Image)
	}
	if last, _, err := l.registry.Last(t.Context(), m.node()); err != nil || last.Claims.Serial != long[:maxClaim] {
		t.Errorf("noted %+v, %v", last, err)
	}
}
