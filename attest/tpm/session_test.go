package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
)

func start(t *testing.T, p *attesttest.TPM) *tpm.Session {
	t.Helper()
	s, err := tpm.Start(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// flow is all that a machine does to attest: the credential is for the keys that it names.
func flow(t *testing.T, s *tpm.Session) *protocol.Request {
	t.Helper()
	r, err := s.Request(make([]byte, protocol.NonceSize), []byte("hpke"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := bytes.Repeat([]byte{7}, protocol.SecretSize)
	blob, encrypted := credential(t, r, secret)
	if got, err := s.Activate(blob, encrypted); err != nil || !bytes.Equal(got, secret) {
		t.Fatalf("%x, %v", got, err)
	}
	digest := sha256.Sum256([]byte("text"))
	sig, err := s.Signer().Sign(nil, digest[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(s.Signer().Public().(*ecdsa.PublicKey), digest[:], sig) {
		t.Fatalf("the TLS key's signature is wrong: %v", err)
	}
	return r
}

func credential(t *testing.T, r *protocol.Request, secret []byte) (blob, encrypted []byte) {
	t.Helper()
	ek, err := tpm2.Unmarshal[tpm2.TPMTPublic](r.EK)
	if err != nil {
		t.Fatal(err)
	}
	ak, err := tpm2.Unmarshal[tpm2.TPMTPublic](r.AK)
	if err != nil {
		t.Fatal(err)
	}
	name, err := tpm2.ObjectName(ak)
	if err != nil {
		t.Fatal(err)
	}
	to, err := tpm2.ImportEncapsulationKey(ek)
	if err != nil {
		t.Fatal(err)
	}
	if blob, encrypted, err = tpm2.CreateCredential(rand.Reader, to, name.Buffer, secret); err != nil {
		t.Fatal(err)
	}
	return blob, encrypted
}

func TestSession(t *testing.T) {
	p := attesttest.New(t, "one")
	s := start(t, p)
	r := flow(t, s)
	if len(r.EKCertificates) != 1 || len(r.PCRs) != len(protocol.QuotedPCRs) {
		t.Errorf("%d certificates, %d PCRs", len(r.EKCertificates), len(r.PCRs))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	again := start(t, p)
	if r2 := flow(t, again); bytes.Equal(r.AK, r2.AK) || bytes.Equal(r.TLSKey, r2.TLSKey) || !bytes.Equal(r.EK, r2.EK) {
		t.Error("another session has keys of the first, or another EK")
	}
	if s.Node() != again.Node() {
		t.Error("the name changes")
	}
}
