package client

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

func TestAttest(t *testing.T) {
	g := &granting{t: t}
	s := newServer(t, g)
	machine := newTPM(t)
	c := s.client()
	c.Log, c.Claims = []byte("log"), protocol.Claims{Image: "1.2"}
	result, err := Attest(t.Context(), machine, c)
	if err != nil {
		t.Fatal(err)
	}
	if result.Grant.Tier != protocol.Enrolled || result.Doubtful || g.requests != 1 {
		t.Errorf("%+v after %d requests", result, g.requests)
	}

	// The certificate is for the machine's key, and works.
	asked := make(chan []byte, 1)
	who := newServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.TLS.PeerCertificates[0].Raw
	}), func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
	h := who.client().Client(&result.Certificate)
	resp, err := h.Get(who.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := <-asked; !bytes.Equal(got, result.Grant.Certificates[0]) {
		t.Error("another certificate was shown")
	}
}

// BenchmarkAttest is all but the work of a TPM and of the server's checks.
func BenchmarkAttest(b *testing.B) {
	c, machine := newServer(b, &granting{t: b}).client(), newTPM(b)
	c.Log = make([]byte, 32<<10)
	for b.Loop() {
		if _, err := Attest(b.Context(), machine, c); err != nil {
			b.Fatal(err)
		}
	}
}

func TestChallenge(t *testing.T) {
	nonce := make([]byte, protocol.NonceSize)
	rand.Read(nonce)
	t.Run("answered", func(t *testing.T) {
		g := &granting{t: t, nonce: nonce}
		if _, err := Attest(t.Context(), newTPM(t), newServer(t, g).client()); err != nil {
			t.Fatal(err)
		}
		if g.requests != 2 || !bytes.Equal(g.exported[0], g.exported[1]) {
			t.Errorf("%d requests, on one connection: %v", g.requests, bytes.Equal(g.exported[0], g.exported[1]))
		}
	})
	for name, body := range map[string]string{
		"for ever": string(marshal(t, protocol.Challenge{Nonce: nonce})), "short nonce": `{"nonce":"AAAA"}`, "no nonce": `{}`, "no JSON": "<html>",
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusPreconditionRequired)
				io.WriteString(w, body)
			}))
			wantUnreachable(t, attest(t, s.client()), "asks for another request")
		})
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTPMFails(t *testing.T) {
	s := newServer(t, &granting{t: t})
	machine := newTPM(t)
	machine.err = errors.New("TPM_RC_FAILURE")
	_, err := Attest(t.Context(), machine, s.client())
	if !errors.Is(err, machine.err) {
		t.Errorf("the error is %v", err)
	}
	if _, ok := errors.AsType[*Unreachable](err); ok {
		t.Errorf("the error is %T", err)
	}

	machine = newTPM(t)
	machine.activate = errors.New("the TPM is busy")
	_, err = Attest(t.Context(), machine, s.client())
	if _, ok := errors.AsType[*Unreachable](err); ok || !errors.Is(err, machine.activate) {
		t.Errorf("opening the answer: the error is %T %v", err, err)
	}
	machine.activate = fmt.Errorf("%w: integrity", protocol.ErrCredential)
	_, err = Attest(t.Context(), machine, s.client())
	wantUnreachable(t, err, "integrity")
}

// TestSlowTPM has one that quotes when the request's header is at the server already.
func TestSlowTPM(t *testing.T) {
	for name, status := range map[string]int{"let in": 0, "told to come again meanwhile": 503, "refused meanwhile": 403} {
		t.Run(name, func(t *testing.T) {
			g := &granting{t: t}
			here := make(chan struct{})
			s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(here)
				if status != 0 {
					w.WriteHeader(status)
					return
				}
				g.ServeHTTP(w, r)
			}))
			machine := newTPM(t)
			machine.slow = func() { <-here }
			_, err := Attest(t.Context(), machine, s.client())
			_, gone := errors.AsType[*Unreachable](err)
			_, refused := errors.AsType[*Refused](err)
			if gone != (status == 503) || refused != (status == 403) || (err == nil) != (status == 0) {
				t.Errorf("the error is %T %v", err, err)
			}
		})
	}
}

func TestGrant(t *testing.T) {
	other := newTPM(t)
	flip := func(b []byte) { b[len(b)/2] ^= 1 }
	for name, c := range map[string]struct {
		*granting
		says string
	}{
		"bit flip":                     {&granting{damage: func(r *protocol.Response) { flip(r.Sealed) }}, "not what the server made"},
		"bit flip in the HPKE key":     {&granting{damage: func(r *protocol.Response) { flip(r.Encapsulated) }}, "not what the server made"},
		"credential of another TPM":    {&granting{damage: func(r *protocol.Response) { flip(r.CredentialBlob) }}, "not what the server made"},
		"another node's":               {&granting{change: func(g *protocol.Grant) { g.Node = "node8" }}, "it names the machine"},
		"expired":                      {&granting{change: func(g *protocol.Grant) { g.Time = g.Time.Add(time.Hour) }}, "its certificate has expired"},
		"no time":                      {&granting{change: func(g *protocol.Grant) { g.Time = time.Time{} }}, "it has no time"},
		"another version":              {&granting{change: func(g *protocol.Grant) { g.Version++ }}, "is of version"},
		"another tier":                 {&granting{change: func(g *protocol.Grant) { g.Tier = "root" }}, "tier"},
		"no certificate":               {&granting{change: func(g *protocol.Grant) { g.Certificates = nil }}, "no certificate"},
		"a broken certificate":         {&granting{change: func(g *protocol.Grant) { g.Certificates[0] = []byte("x") }}, "reading its certificate"},
		"a certificate of another key": {&granting{change: func(g *protocol.Grant) { g.Certificates[0] = g.Certificates[1] }}, "for another key"},
		"response of another version":  {&granting{damage: func(r *protocol.Response) { r.Version++ }}, "is of version"},
		"another machine's grant":      {&granting{damage: func(r *protocol.Response) { *r = *sealedFor(t, other) }}, "opening the grant"},
	} {
		t.Run(name, func(t *testing.T) {
			c.granting.t = t
			s := newServer(t, c.granting)
			wantUnreachable(t, attest(t, s.client()), c.says)
		})
	}
}

// sealedFor is a good response, but to another request.
func sealedFor(t *testing.T, machine *fakeTPM) *protocol.Response {
	key, err := protocol.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	r, err := machine.Request([]byte("nonce"), key.PublicKey().Bytes(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return (&granting{t: t}).seal(r, r.Binding([]byte("nonce")))
}

func TestURL(t *testing.T) {
	for _, url := range []string{"", "http://a.example", "a.example", "https://", "https:a.example", "https://u:p@a.example", "https://a.example/?q", "https://a.example/#f", "https://%zz"} {
		if _, err := ParseURL(url); err == nil {
			t.Errorf("%q is accepted", url)
		}
	}
	for _, url := range []string{"https://a.example", "https://a.example:8443/", "https://[::1]:1/sub"} {
		if u, err := ParseURL(url); err != nil || u.String() != strings.TrimSuffix(url, "/") {
			t.Errorf("%q is %v, %v", url, u, err)
		}
	}
}

// TestPath has a server below a path, behind a proxy that has no say.
func TestPath(t *testing.T) {
	g := &granting{t: t}
	s := newServer(t, http.StripPrefix("/sub", g))
	var connects atomic.Int32
	proxy := newProxy(t, &connects)
	c := s.client()
	c.URL += "/sub/"
	c.Proxy = http.ProxyURL(proxy)
	if _, err := Attest(t.Context(), newTPM(t), c); err != nil {
		t.Fatal(err)
	}
	if connects.Load() != 1 {
		t.Errorf("the proxy made %d connections", connects.Load())
	}
	c.Proxy = http.ProxyURL(&url.URL{Scheme: "https", Host: proxy.Host})
	wantUnreachable(t, attest(t, c), "can not be used")

	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	where, _ := url.Parse(refusing.URL)
	c.Proxy = http.ProxyURL(where)
	wantUnreachable(t, attest(t, c), "Not Found") // not *Refused: a proxy is nobody
}

func newProxy(t *testing.T, connects *atomic.Int32) *url.URL {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		connects.Add(1)
		tunnel(t, w, r.Host)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestRetryAfter(t *testing.T) {
	date := "Sat, 21 Nov 2026 10:00:00 GMT"
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "30": 30 * time.Second, "-1": 0, "x": 0, "99999999": maxAfter, "99999999999": 0,
		"Sat, 21 Nov 2026 10:00:20 GMT": 20 * time.Second, "Sat, 21 Nov 2026 09:00:00 GMT": 0, "Sat, 21 Nov 2099 10:00:20 GMT": maxAfter,
	} {
		if got := after(http.Header{"Retry-After": {value}, "Date": {date}}); got != want {
			t.Errorf("%q is %v, not %v", value, got, want)
		}
	}
	if got := after(http.Header{"Retry-After": {"Sat, 21 Nov 2026 10:00:20 GMT"}}); got != 0 {
		t.Errorf("without the server's date it is %v", got)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("30", "")
	f.Add("Sat, 21 Nov 2026 10:00:20 GMT", "Sat, 21 Nov 2026 10:00:00 GMT")
	f.Fuzz(func(t *testing.T, value, date string) {
		if d := after(http.Header{"Retry-After": {value}, "Date": {date}}); d < 0 || d > maxAfter {
			t.Errorf("%q at %q is %v", value, date, d)
		}
	})
}
