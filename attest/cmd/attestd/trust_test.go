package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// issuer is an authority for tests.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newIssuer makes an authority, whose certificate is of above, or of itself.
func newIssuer(t testing.TB, name string, above *issuer) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	i := &issuer{template, key}
	if above == nil {
		above = i
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above.certificate, key.Public(), above.key)
	if err != nil {
		t.Fatal(err)
	}
	if i.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *issuer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Raw})
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVendors(t *testing.T) {
	dir := t.TempDir()
	a, b := newIssuer(t, "a", nil), newIssuer(t, "b", nil)
	below, lost := newIssuer(t, "below", a), newIssuer(t, "lost", newIssuer(t, "nowhere", nil))
	writeFile(t, filepath.Join(dir, "a.pem"), slices.Concat([]byte("# vendor\n"), a.pem(), below.pem()))
	writeFile(t, filepath.Join(dir, "vendor", "b.der"), b.certificate.Raw)
	writeFile(t, filepath.Join(dir, "lost.pem"), lost.pem())
	writeFile(t, filepath.Join(dir, ".git"), []byte("not looked at"))
	writeFile(t, filepath.Join(dir, "README"), []byte("text"))
	writeFile(t, filepath.Join(dir, "key.pem"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	roots, intermediates, odd, err := vendors(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		*issuer
		good bool
	}{"a": {a, true}, "b": {b, true}, "below": {below, true}, "lost": {lost, false}} {
		_, err := test.certificate.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(odd) != 2 || !strings.Contains(odd[0].Error(), "README") || !strings.Contains(odd[1].Error(), "PRIVATE KEY is not a certificate") {
		t.Errorf("odd: %v", odd)
	}
	if _, _, _, err := vendors(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there")
	}
}

func FuzzParseCertificates(f *testing.F) {
	i := newIssuer(f, "a", nil)
	f.Add(i.pem())
	f.Add(i.certificate.Raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := parseCertificates(b); len(list) == 0 && err == nil {
			t.Error("neither a certificate nor an error")
		}
	})
}

func TestFingerprint(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "odd [name]*", "inner", "file"), []byte("one"))
	file := filepath.Join(dir, "odd [name]*", "inner", "file")
	paths := []string{filepath.Join(dir, "odd [name]*") + "////", filepath.Join(dir, "none")}
	seen := map[string]string{fingerprint(paths): "the start"}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"written", func() error { return os.WriteFile(file, []byte("longer"), 0o600) }},
		{"touched", func() error { return os.Chtimes(file, time.Time{}, time.Unix(1, 0)) }},
		{"replaced by one of the same time", func() error {
			other := file + "2"
			if err := os.WriteFile(other, bytes.Repeat([]byte("x"), 6), 0o600); err != nil {
				return err
			}
			if err := os.Chtimes(other, time.Time{}, time.Unix(1, 0)); err != nil {
				return err
			}
			return os.Rename(other, file)
		}},
		{"removed", func() error { return os.Remove(file) }},
		{"made", func() error { return os.WriteFile(paths[1], nil, 0o600) }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		now := fingerprint(paths)
		if before, found := seen[now]; found {
			t.Errorf("%s: as after %s", step.name, before)
		}
		seen[now] = step.name
		if now != fingerprint(paths) {
			t.Errorf("%s: it changes by itself", step.name)
		}
	}
	// What is being received grows without being looked at.
	hidden := filepath.Join(dir, ".rack-1", "overlay.age")
	writeFile(t, hidden, nil)
	now := fingerprint([]string{dir + "/"})
	writeFile(t, hidden, []byte("more"))
	if fingerprint([]string{dir + "/"}) != now {
		t.Error("a name that begins with a dot counts")
	}
}
