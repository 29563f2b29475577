package operator

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func newIdentity(t testing.TB, name string) (private, public []byte) {
	t.Helper()
	private, public, err := NewIdentity(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

func certificate(t testing.TB, public []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(public)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	private, ann := newIdentity(t, "ann")
	_, again := newIdentity(t, "ann")
	_, bob := newIdentity(t, "somebody-else") // not the name that counts
	_, cid := newIdentity(t, "cid")
	key := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: certificate(t, cid).RawSubjectPublicKeyInfo})
	for name, text := range map[string][]byte{
		"ann.pem": slices.Concat(ann, again), "bob@example.com.pem": bob, "cid.pem": key,
		".hidden.pem": []byte("not looked at"), "README": []byte("text"), "dan.pem": []byte("text"), "eve.pem": ann,
		"fay.pem": private, "g h.pem": bob, "ida.pem": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set, odd, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string][]byte{"ann": again, "bob@example.com": bob, "cid": cid} {
		if got := set.Name(certificate(t, public)); got != name {
			t.Errorf("%s is %q", name, got)
		}
	}
	if got := set.Name(certificate(t, ann)); got != "ann" {
		t.Errorf("ann's first key is that of %q", got)
	}
	var problems []string
	for _, err := range odd {
		problems = append(problems, err.Error())
	}
	for _, want := range []string{
		"README: an operator's file is called", "dan.pem: it has no certificate", "eve.pem: ann has this key", "private key belongs to the operator alone",
		"is not an operator's name", "ida.pem: x509",
	} {
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, want) }) {
			t.Errorf("nothing says %q: %q", want, problems)
		}
	}
	_, stranger := newIdentity(t, "zoe")
	if got := set.Name(certificate(t, stranger)); got != "" {
		t.Errorf("a stranger is %q", got)
	}
	if got := slices.Sorted(maps.Values(set)); !slices.Equal(got, []string{"ann", "ann", "bob@example.com", "cid"}) {
		t.Errorf("all operators: %q", got)
	}
	if _, _, err := Read(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there is read")
	}
}

func TestIdentity(t *testing.T) {
	private, public := newIdentity(t, "ann")
	path := filepath.Join(t.TempDir(), "ann.key")
	for _, text := range [][]byte{private, public, nil} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		pair, err := ReadIdentity(path)
		if whole := bytes.Equal(text, private); (err == nil) != whole || whole && !bytes.Equal(pair.Leaf.Raw, certificate(t, public).Raw) {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
	for _, name := range []string{"", ".ann", "ann/bob", "ann bob", strings.Repeat("a", maxName+1), "ünn"} {
		if _, _, err := NewIdentity(name, time.Now()); err == nil {
			t.Errorf("%q has an identity", name)
		}
	}
}

func TestKnown(t *testing.T) {
	_, ann := newIdentity(t, "ann")
	c := certificate(t, ann)
	set := Set{}
	for _, state := range []*tls.ConnectionState{nil, {}, {PeerCertificates: []*x509.Certificate{c}}} {
		if got := set.Known(state); got != "" {
			t.Errorf("in an empty set there is %q", got)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	private, public := newIdentity(f, "ann")
	f.Add(public)
	f.Add(private)
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if keys, err := parseKeys(b); len(keys) == 0 && err == nil {
			t.Error("no key, and no error")
		}
	})
}
