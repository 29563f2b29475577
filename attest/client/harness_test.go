package client

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// fakeTPM has a quote that is no more than its extraData, and a credential that is the secret turned around.
type fakeTPM struct {
	key      *ecdsa.PrivateKey
	node     string
	err      error
	activate error  // of Activate
	slow     func() // before each quote; may be nil
}

func newTPM(t testing.TB) *fakeTPM {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeTPM{key: key, node: "node7"}
}

func (f *fakeTPM) Request(nonce, hpkeKey, log []byte, claims json.RawMessage) (*protocol.Request, error) {
	if f.slow != nil {
		f.slow()
	}
	if f.err != nil {
		return nil, f.err
	}
	public, err := f.key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	r := &protocol.Request{Version: protocol.Version, EK: []byte(f.node), AK: []byte("ak"), TLSKey: public, HPKEKey: hpkeKey,
		PCRs: make([][]byte, len(protocol.QuotedPCRs)), EventLog: log, Claims: claims}
	r.Quote.Attest = r.Binding(nonce)
	return r, nil
}

func turned(b []byte) []byte {
	c := make([]byte, len(b))
	for i := range b {
		c[i] = ^b[i]
	}
	return c
}

func (f *fakeTPM) Activate(blob, _ []byte) ([]byte, error) { return turned(blob), f.activate }
func (f *fakeTPM) Signer() crypto.Signer                   { return f.key }
func (f *fakeTPM) Node() string                            { return f.node }

// authority is a CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var (
	testNow = time.Now()
	serial  int64
	serials sync.Mutex
)

func sign(t testing.TB, template *x509.Certificate, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	t.Helper()
	serials.Lock()
	serial++
	template.SerialNumber = big.NewInt(serial)
	serials.Unlock()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newAuthority(t testing.TB, from, to time.Time) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	return &authority{sign(t, template, template, key.Public(), key), key}
}

// issue gives a certificate for 127.0.0.1 and test.example, with the authority's behind it.
func (a *authority) issue(t testing.TB, from, to time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "test"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"test.example"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, a.cert, key.Public(), a.key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// server is one that a client trusts unless the test changes something.
type server struct {
	*httptest.Server
	ca   *authority
	cert tls.Certificate
}

func newServer(t testing.TB, h http.Handler, change ...func(*tls.Config)) *server {
	t.Helper()
	ca := newAuthority(t, testNow.Add(-time.Hour), testNow.Add(time.Hour))
	s := &server{ca: ca, cert: ca.issue(t, testNow.Add(-time.Hour), testNow.Add(time.Hour))}
	s.start(t, h, change...)
	return s
}

func (s *server) start(t testing.TB, h http.Handler, change ...func(*tls.Config)) {
	s.Server = httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{s.cert}}
	for _, f := range change {
		f(s.TLS)
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
}

// client is one for s.
func (s *server) client() Config {
	return Config{URL: s.URL, Trust: Trust{Roots: s.ca.pool()}, limits: defaults}
}

// granting attests machines whose quote is bound to the connection or, if it is not nil, to nonce.
type granting struct {
	t      testing.TB
	nonce  []byte
	change func(*protocol.Grant)
	damage func(*protocol.Response)

	mu       sync.Mutex
	requests int
	exported [][]byte
}

func (g *granting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	problem := func(status int, code string) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(protocol.Problem{Code: code, Message: "a test"})
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		problem(http.StatusBadRequest, "body")
		return
	}
	request, err := protocol.DecodeRequest(text)
	if err != nil || r.URL.Path != protocol.Path || r.Method != http.MethodPost {
		problem(http.StatusBadRequest, "request")
		return
	}
	nonce, err := r.TLS.ExportKeyingMaterial(protocol.ExporterLabel, nil, protocol.NonceSize)
	if err != nil {
		problem(http.StatusInternalServerError, "exporter")
		return
	}
	g.mu.Lock()
	g.requests++
	g.exported = append(g.exported, nonce)
	g.mu.Unlock()
	if g.nonce != nil {
		if nonce = g.nonce; !bytes.Equal(request.Nonce, nonce) {
			w.WriteHeader(http.StatusPreconditionRequired)
			json.NewEncoder(w).Encode(protocol.Challenge{Nonce: nonce})
			return
		}
	}
	if !bytes.Equal(request.Quote.Attest, request.Binding(nonce)) {
		problem(http.StatusForbidden, "quote-nonce")
		return
	}
	json.NewEncoder(w).Encode(g.seal(request, request.Binding(nonce)))
}

func (g *granting) seal(request *protocol.Request, binding []byte) *protocol.Response {
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), request.TLSKey)
	if err != nil {
		panic(err)
	}
	ca := newAuthority(g.t, testNow.Add(-time.Hour), testNow.Add(time.Hour))
	leaf := sign(g.t, &x509.Certificate{NotBefore: testNow.Add(-time.Minute), NotAfter: testNow.Add(15 * time.Minute)}, ca.cert, public, ca.key)
	grant := &protocol.Grant{Version: protocol.Version, Time: testNow.Truncate(time.Second), Node: string(request.EK), Tier: protocol.Enrolled,
		Certificates: [][]byte{leaf.Raw, ca.cert.Raw}}
	if g.change != nil {
		g.change(grant)
	}
	secret := make([]byte, protocol.SecretSize)
	rand.Read(secret)
	response, err := protocol.Seal(grant, request, binding, secret, func(secret []byte) ([]byte, []byte, error) {
		return turned(secret), []byte("s"), nil
	})
	if err != nil {
		panic(err)
	}
	if g.damage != nil {
		g.damage(response)
	}
	return response
}

// attest gives the errors of an attempt that must not work.
func attest(t testing.TB, c Config) error {
	t.Helper()
	result, err := Attest(t.Context(), newTPM(t), c)
	if err == nil {
		t.Fatalf("it attests: %+v", result)
	}
	t.Log(err)
	return err
}

func wantUnreachable(t testing.TB, err error, says string) *Unreachable {
	t.Helper()
	e, ok := errors.AsType[*Unreachable](err)
	if !ok || !strings.Contains(err.Error(), says) {
		t.Fatalf("the error is %T %v, not an *Unreachable that says %q", err, err, says)
	}
	return e
}

func wantUntrusted(t testing.TB, err error, says string) *Untrusted {
	t.Helper()
	e, ok := errors.AsType[*Untrusted](err)
	if !ok || !strings.Contains(err.Error(), says) {
		t.Fatalf("the error is %T %v, not an *Untrusted that says %q", err, err, says)
	}
	return e
}
