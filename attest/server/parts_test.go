package server

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

func TestAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"},
		{"[2001:db8::1%eth0]:5", nil, "2001:db8::1"},
		{"[::ffff:192.0.2.1]:5", nil, "192.0.2.1"},
		{"192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1"},
		{"10.0.0.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"203.0.113.9", "198.51.100.7, fd00::2"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"nonsense"}, "10.0.0.1"},
		{"10.0.0.1:5", nil, "10.0.0.1"},
		{"10.0.0.1:5", []string{"203.0.113.9, nonsense, 10.0.0.3"}, "10.0.0.3"},
		{"10.0.0.1:5", []string{"10.0.0.2"}, "10.0.0.2"},
		{"nonsense", []string{"203.0.113.9"}, ""},
	} {
		r := &http.Request{RemoteAddr: test.remote, Header: http.Header{"X-Forwarded-For": test.forwarded}}
		if got := addressText(address(r, proxies)); got != test.want {
			t.Errorf("%s forwarded by %q: %s, want %s", test.remote, test.forwarded, got, test.want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("10.0.0.1:5", "203.0.113.9, fd00::2")
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		with := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		if a, b := address(with, nil), address(&http.Request{RemoteAddr: remote}, nil); a != b {
			t.Errorf("without proxies %q makes %v of %v", forwarded, a, b)
		}
		site(address(with, proxies))
	})
}

func TestSite(t *testing.T) {
	for a, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64"} {
		if got := site(netip.MustParseAddr(a)); got.String() != want {
			t.Errorf("%s is of %v", a, got)
		}
	}
	if got := site(netip.Addr{}); got.IsValid() {
		t.Errorf("no address is of %v", got)
	}
}

func TestLimiterForgets(t *testing.T) {
	l, now := newLimiter[int](1), time.Now()
	if wait, _ := l.take(-1, now); wait != 0 {
		t.Fatal("no first token")
	}
	for i := range generation {
		l.take(i, now)
		if wait, _ := l.take(-1, now); i == generation/2 && wait == 0 { // it is in use, and so remembered
			t.Fatal("a second token")
		}
	}
	for i := range 3 * generation {
		l.take(i, now)
	}
	if n := len(l.young) + len(l.old); n > 2*generation {
		t.Errorf("%d keys are remembered", n)
	}
	if wait, _ := l.take(-1, now); wait != 0 {
		t.Error("what was not seen for long is still refused")
	}
}

func TestListen(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan string, 9)
	l := Listen(inner, Connections{All: 3, PerAddress: 2}, func(limit string, from netip.Addr) { refused <- limit + " " + from.String() })
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	first := <-accepted
	dial()
	<-accepted
	third := dial()
	if got := <-refused; got != LimitAddress+" 127.0.0.1" {
		t.Errorf("refused %s", got)
	}
	if _, err := third.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the third connection: %v", err)
	}
	first.Close()
	first.Close() // as net/http does now and then
	dial()
	<-accepted
	dial()
	<-refused

	limits := l.(*listener)
	limits.mu.Lock()
	limits.limits.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	limits.mu.Unlock()
	dial()
	last := <-accepted
	if over := limits.enter(netip.MustParseAddr("192.0.2.1")); over != LimitAll {
		t.Errorf("a fourth of three: %q", over)
	}
	last.Close()
	if over := limits.enter(netip.MustParseAddr("192.0.2.1")); over != "" {
		t.Errorf("no third: %s", over)
	}
}

func TestOpenAuthority(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	certificate, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")
	open := func() *Authority {
		t.Helper()
		a, err := OpenAuthority(certificate, key, now)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	made := open()
	if again := open(); !again.chain[0].Equal(made.chain[0]) {
		t.Error("it is another when it is read again")
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key is %v, %v", info.Mode(), err)
	}
	// The making was cut short after the key.
	if err := os.Remove(certificate); err != nil {
		t.Fatal(err)
	}
	if again := open(); !bytes.Equal(again.chain[0].RawSubjectPublicKeyInfo, made.chain[0].RawSubjectPublicKeyInfo) {
		t.Error("it has another key")
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(certificate, key, now); err == nil || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("without its key: %v", err)
	}
}

// Someone may have put a server's certificate in the authority's place.
func TestAuthorityOfAServer(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	certificate, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")
	a, err := OpenAuthority(certificate, key, now)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := a.Issue("node", protocol.Attested, a.key.Public(), now)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[0]}), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(certificate, key, now); err == nil || !strings.Contains(err.Error(), "not the certificate of an authority") {
		t.Errorf("it was taken: %v", err)
	}
}

// A machine cannot make certificates with its own.
func TestCertificateIsALeaf(t *testing.T) {
	l := start(t, anyPolicy)
	g := l.grant(t, newMachine(t, "a"))
	leaf, err := x509.ParseCertificate(g.Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	if leaf.IsCA || !leaf.BasicConstraintsValid || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 1 {
		t.Errorf("certificate %+v", leaf)
	}
	if ca := l.Authority.chain[0]; !ca.IsCA || ca.MaxPathLen != 0 || !ca.MaxPathLenZero {
		t.Errorf("authority %+v", ca)
	}
}
