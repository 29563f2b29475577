package roster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// endorsement is a key with a certificate in PEM.
func endorsement(t testing.TB) (crypto.PublicKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return key.Public(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestParse(t *testing.T) {
	public, certificate := endorsement(t)
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	node, err := protocol.NodeID(public)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	for _, test := range []struct {
		text string
		want []string
		err  string
	}{
		{"", nil, ""},
		{"# list\n\n" + a + "\r\n  " + b + " rack 4, slot 2\n", []string{a, b}, ""},
		{a + "#comment\n" + key + b, []string{node, a, b}, ""},
		{string(certificate), []string{node}, ""},
		{a + "\n" + a, []string{a}, ""},
		{"rack4\n", nil, `line 1: "rack4" is not the name of a machine`},
		{a + "\n" + strings.ToUpper(b), nil, "line 2"},
		{key[:len(key)-30], nil, "the last PEM block has no end"},
		{"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", nil, "line 3: the PEM that ends here is damaged"},
		{"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", nil, "PRIVATE KEY is neither"},
		{"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", nil, "line 3"},
	} {
		machines, err := Parse([]byte(test.text))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q: %v, want %q", test.text, err, test.err)
			}
			continue
		}
		slices.Sort(test.want)
		if got := slices.Sorted(maps.Keys(machines)); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%q: %v, %v", test.text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(strings.Repeat("a", 64) + " note\n# comment\n"))
	_, certificate := endorsement(f)
	f.Add(certificate)
	f.Fuzz(func(t *testing.T, b []byte) {
		machines, err := Parse(b)
		for node := range machines {
			if err != nil || store.CheckNode(node) != nil {
				t.Errorf("%q, %v", node, err)
			}
		}
	})
}
