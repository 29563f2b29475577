package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
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

// The TLS key signs for one connection while the session asks for another.
func TestAtOnce(t *testing.T) {
	s := start(t, attesttest.New(t, "one"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.Request(make([]byte, protocol.NonceSize), nil, nil, nil); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := s.Signer().Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := s.Signer().Sign(nil, make([]byte, 48), crypto.SHA384); err == nil {
		t.Error("it signs SHA-384")
	}
}

// TestActivateFails tells a credential that is wrong from a TPM that is.
func TestActivateFails(t *testing.T) {
	p := attesttest.New(t, "one")
	s := start(t, p)
	r := flow(t, s)
	blob, encrypted := credential(t, r, bytes.Repeat([]byte{7}, protocol.SecretSize))
	flipped := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	for name, c := range map[string]struct{ blob, encrypted []byte }{
		"bit flip":                 {flipped(blob), encrypted},
		"bit flip in the secret":   {blob, flipped(encrypted)},
		"nothing":                  {nil, nil},
		"too short":                {blob[:len(blob)-1], encrypted},
		"too long":                 {bytes.Repeat(blob, 9), encrypted},
		"a secret that is no good": {blob, encrypted[:9]},
	} {
		if _, err := s.Activate(c.blob, c.encrypted); !errors.Is(err, protocol.ErrCredential) {
			t.Errorf("%s: %v", name, err)
		}
	}

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const value = tpm2.TPMRCValue | 1<<6 | 1<<8 // of the first parameter
	for name, c := range map[string]struct {
		command tpm2.TPMCC
		rc      tpm2.TPMRC
	}{
		"failure":            {tpm2.TPMCCActivateCredential, tpm2.TPMRCFailure},
		"no memory":          {tpm2.TPMCCActivateCredential, tpm2.TPMRCMemory},
		"password":           {tpm2.TPMCCPolicySecret, tpm2.TPMRCBadAuth | 1<<11 | 1<<8},
		"of another command": {tpm2.TPMCCPolicySecret, value},
	} {
		broken, err := tpm.Start(answering{p, func(command []byte) tpm2.TPMRC {
			if tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == c.command {
				return c.rc
			}
			return 0
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := broken.Activate(blob, encrypted); err == nil || errors.Is(err, protocol.ErrCredential) {
			t.Errorf("%s: %v", name, err)
		}
		if err := broken.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
