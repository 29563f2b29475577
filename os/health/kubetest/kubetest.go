// Package kubetest is a cluster for tests: what a Kubernetes API server says of nodes over TLS, to whom it knows, and
// kubeconfigs for it. Its answers were made of Kubernetes' own types by the program in objects, which is a module of its
// own because of their weight.
package kubetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

//go:embed testdata/objects.json
var objects []byte

// The node that there are answers for, the ID of its boot, and the token that the cluster knows.
const (
	Node   = "node1"
	BootID = "6f3c3a5e-7d1b-4b3e-9c57-0d6b4bfe4d1f"
	Token  = "K10f0e1d2c3b4a5968778695a4b3c2d1e0f::server:0123456789abcdef"
)

// Cluster is a server and its authority.
type Cluster struct {
	*httptest.Server
	Authority

	mu     sync.Mutex
	answer http.HandlerFunc
}

// New starts a cluster whose node is ready.
func New(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{Authority: NewAuthority(t)}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	certificate, key := c.Issue(t, "kube-apiserver", time.Now().Add(time.Hour))
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	// As kube-apiserver does: whoever has no certificate, or a wrong one, gets as far as 401.
	c.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	c.Answer(t, "ready")
	c.StartTLS()
	t.Cleanup(c.Close)
	return c
}

// Answer is what a server says.
type Answer struct {
	Code int
	Body json.RawMessage
}

// Answers is all that there are, by name.
func Answers(t testing.TB) map[string]Answer {
	t.Helper()
	var all map[string]Answer
	if err := json.Unmarshal(objects, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func find(t testing.TB, name string) Answer {
	t.Helper()
	a, ok := Answers(t)[name]
	if !ok {
		t.Fatalf("there is no answer %q", name)
	}
	return a
}

func (a Answer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.Code)
	w.Write(a.Body)
}

// Answer has those whom the cluster knows get the answer of that name in testdata, if they ask for the node.
func (c *Cluster) Answer(t testing.TB, name string) {
	t.Helper()
	a, absent, unauthorized := find(t, name), find(t, "absent"), find(t, "unauthorized")
	c.Handle(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !c.knows(r):
			unauthorized.ServeHTTP(w, r)
		case r.Method != http.MethodGet || r.URL.Path != "/api/v1/nodes/"+Node:
			absent.ServeHTTP(w, r)
		default:
			a.ServeHTTP(w, r)
		}
	})
}

// Handle answers everything in another way.
func (c *Cluster) Handle(h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = h
}

func (c *Cluster) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	h := c.answer
	c.mu.Unlock()
	h(w, r)
}

func (c *Cluster) knows(r *http.Request) bool {
	for _, certificate := range r.TLS.PeerCertificates {
		pool := x509.NewCertPool()
		pool.AddCert(c.certificate)
		_, err := certificate.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return err == nil
	}
	return r.Header.Get("Authorization") == "Bearer "+Token
}

// Authority issues certificates.
type Authority struct {
	PEM []byte

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) Authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, key := sign(t, template, template, nil)
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return Authority{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), certificate, key}
}

// Issue makes a certificate for a server on this machine and for a client of that name, both in PEM.
func (a Authority) Issue(t testing.TB, name string, until time.Time) (certificate, key []byte) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, Organization: []string{"system:nodes"}},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:   time.Now().Add(-2 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, private := sign(t, template, a.certificate, a.key)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func sign(t testing.TB, template, parent *x509.Certificate, with *ecdsa.PrivateKey) (der []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if with == nil {
		with = key
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, parent, key.Public(), with); err != nil {
		t.Fatal(err)
	}
	return der, key
}
