package verify_test

import (
	"bytes"
	"crypto/hpke"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
)

var update = flag.Bool("update", false, "attest with swtpm and write testdata/transcript.json anew")

// transcript is one attestation, and what is secret in it.
type transcript struct {
	Time     time.Time          `json:"time"`
	Root     []byte             `json:"root"`  // the TPM vendor's, DER
	Nonce    []byte             `json:"nonce"` // the TLS exporter's value
	Request  *protocol.Request  `json:"request"`
	Binding  []byte             `json:"binding"`
	HPKEKey  []byte             `json:"hpkePrivateKey"`
	Secret   []byte             `json:"activatedSecret"` // what the TPM gives for the response's credential
	Response *protocol.Response `json:"response"`
	Grant    *protocol.Grant    `json:"grant"`
}

func readTranscript(t testing.TB) (c transcript) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "transcript.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *transcript) options(t testing.TB) verify.Options {
	t.Helper()
	root, err := x509.ParseCertificate(c.Root)
	if err != nil {
		t.Fatal(err)
	}
	o := verify.Options{Roots: x509.NewCertPool(), Now: c.Time}
	o.Roots.AddCert(root)
	return o
}

// An attestation of the past is still understood, and comes out as it did.
func TestTranscript(t *testing.T) {
	if *update {
		writeTranscript(t)
	}
	c := readTranscript(t)
	e := verified(t, c.Request, c.Nonce, c.options(t))
	if e.Tier != protocol.Attested || e.Node != c.Grant.Node || e.Claims.Image != "1.2.3" || len(e.Events) != len(attesttest.Firmware()) {
		t.Errorf("%s, %s, %+v, %d events", e.Tier, e.Node, e.Claims, len(e.Events))
	}
	if binding := c.Request.Binding(c.Nonce); !bytes.Equal(binding, c.Binding) {
		t.Errorf("bound to %x, not %x", binding, c.Binding)
	}
	key, err := hpke.MLKEM768X25519().NewPrivateKey(c.HPKEKey)
	if err != nil {
		t.Fatal(err)
	}
	grant, err := c.Response.Open(c.Binding, key, func(_, _ []byte) ([]byte, error) { return c.Secret, nil })
	if err != nil || !reflect.DeepEqual(grant, c.Grant) {
		t.Errorf("%+v, %v", grant, err)
	}
}

func writeTranscript(t *testing.T) {
	t.Helper()
	p, log := machine(t, "transcript")
	s, err := tpm.Start(p)
	if err != nil {
		t.Fatal(err)
	}
	b := ask(t, s, log)
	pemRoot, err := os.ReadFile(attesttest.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	root, _ := pem.Decode(pemRoot)
	c := transcript{
		Time: time.Now().UTC().Truncate(time.Second), Root: root.Bytes, Nonce: b.nonce,
		Request: b.request, Binding: b.request.Binding(b.nonce), Secret: random(protocol.SecretSize),
	}
	if c.HPKEKey, err = b.key.Bytes(); err != nil {
		t.Fatal(err)
	}
	e := verified(t, c.Request, c.Nonce, c.options(t))
	c.Grant = &protocol.Grant{Version: protocol.Version, Time: c.Time, Node: e.Node, Tier: e.Tier}
	if c.Response, err = protocol.Seal(c.Grant, c.Request, c.Binding, c.Secret, e.Credential); err != nil {
		t.Fatal(err)
	}
	if secret, err := s.Activate(c.Response.CredentialBlob, c.Response.EncryptedSecret); err != nil || !bytes.Equal(secret, c.Secret) {
		t.Fatalf("%x, %v", secret, err)
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", "transcript.json"), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fields are the byte strings of a request; those that must not change come first.
func fields(r *protocol.Request) (bound int, all []*[]byte) {
	all = []*[]byte{
		&r.EK, &r.AK, &r.TLSKey, &r.HPKEKey, &r.EventLog, &r.Claims,
		&r.Quote.Attest, &r.TLSKeyCertification.Attest, &r.PCRs[4], &r.PCRs[15],
	}
	return len(all), append(all, &r.Quote.Signature, &r.TLSKeyCertification.Signature, &r.EKCertificates[0])
}

// Whatever is in one of a request's fields, it is refused or makes no difference, and nothing panics.
func FuzzVerify(f *testing.F) {
	c := readTranscript(f)
	o := c.options(f)
	_, all := fields(c.Request)
	for i := range all {
		f.Add(uint8(i), bytes.Clone(*all[i]))
	}
	wire, err := json.Marshal(c.Request)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		r := new(protocol.Request)
		if err := json.Unmarshal(wire, r); err != nil {
			t.Fatal(err)
		}
		bound, all := fields(r)
		i := int(which) % len(all)
		same := bytes.Equal(*all[i], b)
		*all[i] = b
		e, err := verify.Verify(r, c.Nonce, o)
		if err != nil {
			if err.(*verify.Refusal).Code == verify.Fault {
				t.Error(err)
			}
			if same {
				t.Error("the transcript is refused", err)
			}
			return
		}
		if i < bound && !same {
			t.Errorf("field %d can be changed", i)
		}
		if e.Node != c.Grant.Node {
			t.Errorf("another machine: %s", e.Node)
		}
	})
}
