package protocol_test

import (
	"bytes"
	"crypto/hpke"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// vectors are testdata/vectors.json, as docs/attestation-protocol.md describes it.
type vectors struct {
	Binding []struct {
		Request *protocol.Request `json:"request"`
		Nonce   hexBytes          `json:"nonce"`
		Binding hexBytes          `json:"binding"`
	} `json:"binding"`
	Node []struct {
		EK   hexBytes `json:"subjectPublicKeyInfo"`
		Node string   `json:"node"`
	} `json:"node"`
	Grant struct {
		HPKEKey  hexBytes           `json:"hpkePrivateKey"`
		Binding  hexBytes           `json:"binding"`
		Secret   hexBytes           `json:"activatedSecret"`
		Response *protocol.Response `json:"response"`
		Grant    *protocol.Grant    `json:"grant"`
	} `json:"grant"`
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func read(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	v := read(t)
	if len(v.Binding) < 2 || len(v.Node) < 3 {
		t.Fatal("vectors are missing")
	}
	for i, c := range v.Binding {
		if got := c.Request.Binding(c.Nonce); !bytes.Equal(got, c.Binding) {
			t.Errorf("binding %d: %x, want %x", i, got, c.Binding)
		}
	}
	for _, c := range v.Node {
		key, err := x509.ParsePKIXPublicKey(c.EK)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := protocol.NodeID(key); got != c.Node || err != nil {
			t.Errorf("%s, %v, want %s", got, err, c.Node)
		}
	}
	g := v.Grant
	key := hpkeKey(t, g.HPKEKey)
	got, err := g.Response.Open(g.Binding, key, activates(g.Response, g.Secret))
	if err != nil || !reflect.DeepEqual(got, g.Grant) {
		t.Errorf("%+v, %v, want %+v", got, err, g.Grant)
	}
}

func hpkeKey(t testing.TB, b []byte) hpke.PrivateKey {
	t.Helper()
	key, err := hpke.MLKEM768X25519().NewPrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// activates stands for a TPM that has secret in what r brings.
func activates(r *protocol.Response, secret []byte) func(blob, encryptedSecret []byte) ([]byte, error) {
	wantBlob, wantSecret := bytes.Clone(r.CredentialBlob), bytes.Clone(r.EncryptedSecret)
	return func(blob, encryptedSecret []byte) ([]byte, error) {
		if !bytes.Equal(blob, wantBlob) || !bytes.Equal(encryptedSecret, wantSecret) {
			return nil, errors.New("TPM_RC_INTEGRITY")
		}
		return secret, nil
	}
}

// sealed is a grant that was sealed for a request.
type sealed struct {
	request         *protocol.Request
	key             hpke.PrivateKey
	binding, secret []byte
	response        *protocol.Response
}

func seal(t testing.TB, grant *protocol.Grant) sealed {
	t.Helper()
	key, err := protocol.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	s := sealed{key: key, secret: bytes.Repeat([]byte{5}, protocol.SecretSize)}
	s.request = &protocol.Request{Version: protocol.Version, EK: []byte("ek"), HPKEKey: key.PublicKey().Bytes()}
	s.binding = s.request.Binding(make([]byte, protocol.NonceSize))
	s.response, err = protocol.Seal(grant, s.request, s.binding, s.secret, func(secret []byte) (blob, encrypted []byte, err error) {
		if !bytes.Equal(secret, s.secret) {
			t.Error("the credential is of another secret")
		}
		return []byte("blob"), []byte("encrypted"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s sealed) open() (*protocol.Grant, error) {
	return s.response.Open(s.binding, s.key, activates(s.response, s.secret))
}

func full() *protocol.Grant {
	return &protocol.Grant{
		Version: protocol.Version, Time: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Node: strings.Repeat("ab", 32), Tier: protocol.Attested,
		Certificates: [][]byte{[]byte("leaf"), []byte("issuer")},
		Overlay:      &protocol.Overlay{URL: "/v1/overlays/base", FileKey: []byte("0123456789abcdef"), Manifest: []byte("manifest")},
	}
}

func TestSealOpen(t *testing.T) {
	s := seal(t, full())
	b, err := json.Marshal(s.response)
	if err != nil {
		t.Fatal(err)
	}
	if s.response, err = protocol.DecodeResponse(b); err != nil {
		t.Fatal(err)
	}
	if got, err := s.open(); err != nil || !reflect.DeepEqual(got, full()) {
		t.Errorf("%+v, %v", got, err)
	}
}

// A grant is opened only as a whole, and only by who asked for it.
func TestGrant(t *testing.T) {
	t.Run("bit flip", func(t *testing.T) {
		s := seal(t, full())
		for _, field := range []*[]byte{&s.response.Encapsulated, &s.response.Sealed} {
			for i := range *field {
				(*field)[i] ^= 0x10
				if _, err := s.open(); err == nil {
					t.Errorf("it opens with byte %d changed", i)
				}
				(*field)[i] ^= 0x10
			}
		}
		for _, field := range []*[]byte{&s.response.CredentialBlob, &s.response.EncryptedSecret} {
			(*field)[0] ^= 1 // a TPM that would not notice
			if _, err := s.open(); err == nil {
				t.Error("it opens with another credential")
			}
			(*field)[0] ^= 1
		}
		if _, err := s.open(); err != nil {
			t.Error(err)
		}
	})
	t.Run("cut short", func(t *testing.T) {
		s := seal(t, full())
		for n := range s.response.Sealed {
			short := *s.response
			short.Sealed = short.Sealed[:n]
			if _, err := short.Open(s.binding, s.key, activates(&short, s.secret)); err == nil {
				t.Errorf("it opens with %d bytes", n)
			}
		}
	})
	t.Run("another's", func(t *testing.T) {
		s, other := seal(t, full()), seal(t, full())
		for _, mixed := range []sealed{
			{nil, other.key, s.binding, s.secret, s.response},
			{nil, s.key, other.binding[:31], s.secret, s.response},
			{nil, s.key, s.binding, bytes.Repeat([]byte{6}, protocol.SecretSize), s.response},
		} {
			if _, err := mixed.open(); err == nil {
				t.Error("it opens")
			}
		}
		if _, err := s.response.Open(s.binding, s.key, func(_, _ []byte) ([]byte, error) { return nil, errors.New("no") }); err == nil {
			t.Error("it opens without a TPM")
		}
	})
	t.Run("of another version", func(t *testing.T) {
		g := full()
		g.Version = 2
		if _, err := seal(t, g).open(); err == nil || !strings.Contains(err.Error(), "version 2") {
			t.Errorf("%v", err)
		}
	})
	t.Run("for no HPKE key", func(t *testing.T) {
		r := &protocol.Request{HPKEKey: []byte("short")}
		if _, err := protocol.Seal(full(), r, nil, nil, nil); err == nil || protocol.CheckKey(r.HPKEKey) == nil {
			t.Errorf("%v", err)
		}
		if err := protocol.CheckKey(seal(t, full()).request.HPKEKey); err != nil {
			t.Error(err)
		}
	})
	t.Run("without a credential", func(t *testing.T) {
		s := seal(t, full())
		no := errors.New("no")
		if _, err := protocol.Seal(full(), s.request, s.binding, s.secret, func([]byte) (_, _ []byte, _ error) { return nil, nil, no }); !errors.Is(err, no) {
			t.Errorf("%v", err)
		}
	})
}

// Every part of a request is bound, and no part can pass for another.
func TestBinding(t *testing.T) {
	nonce := make([]byte, protocol.NonceSize)
	seen := map[string]int{}
	parts := func() (*protocol.Request, []*[]byte) {
		r := new(protocol.Request)
		return r, []*[]byte{&r.EK, &r.AK, &r.TLSKey, &r.HPKEKey, &r.EventLog, &r.Claims}
	}
	r, all := parts()
	seen[string(r.Binding(nonce))] = -1
	for i := range all {
		r, all := parts()
		*all[i] = []byte("part")
		b := string(r.Binding(nonce))
		if j, ok := seen[b]; ok {
			t.Errorf("parts %d and %d bind alike", i, j)
		}
		seen[b] = i
	}
	if _, ok := seen[string(r.Binding(append(nonce, 0)))]; ok {
		t.Error("the nonce is not bound")
	}
}

// A grant comes from who holds the other end of the TLS connection, which may be a fool.
func FuzzGrant(f *testing.F) {
	b, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := protocol.DecodeGrant(b)
		if err != nil {
			return
		}
		if g.Version != protocol.Version {
			t.Error("another version")
		}
		s := seal(t, g)
		if again, err := s.open(); err != nil || again.Node != g.Node || !again.Time.Equal(g.Time) {
			t.Errorf("%+v, %v, want %+v", again, err, g)
		}
	})
}
