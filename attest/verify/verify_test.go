package verify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
)

func TestVerify(t *testing.T) {
	b := honest(t)
	e := verified(t, b.request, b.nonce, options(t))
	if e.Tier != protocol.Attested || e.EKProblem != nil || e.EKCertificate == nil || len(e.Node) != 64 {
		t.Errorf("%s, %v, %v, %s", e.Tier, e.EKProblem, e.EKCertificate, e.Node)
	}
	if e.Claims.Image != "1.2.3" || e.Claims.Vendor != "<A & B>" {
		t.Errorf("%+v", e.Claims)
	}
	if k, ok := e.TLSKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		t.Errorf("%T", e.TLSKey)
	}
	firmware := attesttest.Firmware()
	if len(e.Events) != len(firmware) {
		t.Fatalf("%d events, want %d", len(e.Events), len(firmware))
	}
	for i, event := range e.Events {
		want := firmware[i]
		digest := sha256.Sum256(want.Data)
		if event.PCR != want.PCR || event.Type != want.Type || !bytes.Equal(event.Data, want.Data) || !bytes.Equal(event.Digest, digest[:]) {
			t.Errorf("event %d: %+v", i, event)
		}
	}
	for _, pcr := range protocol.QuotedPCRs {
		if !bytes.Equal(e.PCRs[pcr], b.request.PCRs[pcr]) || !e.Explained[pcr] {
			t.Errorf("PCR %d: %x, explained: %t", pcr, e.PCRs[pcr], e.Explained[pcr])
		}
	}
}

// TestPanic has a panic in the middle of a machine's request.
func TestPanic(t *testing.T) {
	b := honest(t)
	o := options(t)
	o.Roots, o.Enrolled = nil, func(string) bool { panic("a secret") }
	e, err := verify.Verify(b.request, b.nonce, o)
	r, ok := errors.AsType[*verify.Refusal](err)
	if e != nil || !ok || r.Code != verify.Fault || strings.Contains(err.Error(), "secret") || r.Panic != "a secret" {
		t.Fatalf("%+v, %v", e, err)
	}
	if !strings.Contains(r.Stack, "TestPanic") {
		t.Errorf("the stack does not say where: %s", r.Stack)
	}
}

// The whole of it: what the server seals for evidence, the machine opens.
func TestGrant(t *testing.T) {
	p, log := machine(t, "honest")
	s, err := tpm.Start(p)
	if err != nil {
		t.Fatal(err)
	}
	seal := func(b boot) *protocol.Response {
		t.Helper()
		e := verified(t, b.request, b.nonce, options(t))
		grant := &protocol.Grant{Version: protocol.Version, Node: e.Node, Tier: e.Tier, Overlay: &protocol.Overlay{FileKey: []byte("0123456789abcdef")}}
		r, err := protocol.Seal(grant, b.request, b.request.Binding(b.nonce), random(protocol.SecretSize), e.Credential)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	b := ask(t, s, log)
	response := seal(b)
	grant, err := response.Open(b.request.Binding(b.nonce), b.key, s.Activate)
	if err != nil || grant.Node != s.Node() || string(grant.Overlay.FileKey) != "0123456789abcdef" {
		t.Fatalf("%+v, %v", grant, err)
	}
	closed := func(t *testing.T, r *protocol.Response, b boot, s *tpm.Session) {
		t.Helper()
		if g, err := r.Open(b.request.Binding(b.nonce), b.key, s.Activate); err == nil {
			t.Errorf("it opens: %+v", g)
		}
	}

	t.Run("bit flip", func(t *testing.T) {
		for _, field := range []func(*protocol.Response) []byte{
			func(r *protocol.Response) []byte { return r.CredentialBlob },
			func(r *protocol.Response) []byte { return r.EncryptedSecret },
			func(r *protocol.Response) []byte { return r.Encapsulated },
			func(r *protocol.Response) []byte { return r.Sealed },
		} {
			for _, at := range []int{0, len(field(response)) / 2, len(field(response)) - 1} {
				spoilt := &protocol.Response{
					CredentialBlob: bytes.Clone(response.CredentialBlob), EncryptedSecret: bytes.Clone(response.EncryptedSecret),
					Encapsulated: bytes.Clone(response.Encapsulated), Sealed: bytes.Clone(response.Sealed),
				}
				field(spoilt)[at] ^= 1
				closed(t, spoilt, b, s)
			}
		}
	})
	t.Run("another request's", func(t *testing.T) {
		closed(t, response, ask(t, s, log), s)
	})
	t.Run("another's HPKE key", func(t *testing.T) {
		other := ask(t, s, log)
		closed(t, response, boot{b.request, b.nonce, other.key}, s)
	})
	t.Run("credential blob of another TPM", func(t *testing.T) {
		p2, log2 := machine(t, "other")
		s2, err := tpm.Start(p2)
		if err != nil {
			t.Fatal(err)
		}
		other := ask(t, s2, log2)
		theirs := seal(other)
		closed(t, theirs, other, s)
		spliced := *response
		spliced.CredentialBlob, spliced.EncryptedSecret = theirs.CredentialBlob, theirs.EncryptedSecret
		closed(t, &spliced, b, s)
	})
	t.Run("another node's", func(t *testing.T) {
		p2, _ := machine(t, "other")
		s2, err := tpm.Start(p2)
		if err != nil {
			t.Fatal(err)
		}
		closed(t, response, b, s2)
	})
	t.Run("another session's AK", func(t *testing.T) {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := tpm.Start(p)
		if err != nil {
			t.Fatal(err)
		}
		closed(t, response, b, again)
	})
}

func TestClaims(t *testing.T) {
	p, log := machine(t, "honest")
	for claims, want := range map[string]string{
		`null`:             verify.Claims,
		`[]`:               verify.Claims,
		`{"image": 1}`:     verify.Claims,
		`{"new": "field"}`: "",
	} {
		f := forgery{log: log, edit: func(r *protocol.Request) { r.Claims = []byte(claims) }}
		b := f.make(t, p)
		if want != "" {
			refused(t, b.request, b.nonce, want)
		} else {
			verified(t, b.request, b.nonce, options(t))
		}
	}
	f := forgery{log: log, edit: func(r *protocol.Request) { r.Claims = append(bytes.Repeat([]byte(" "), 20<<10), "{}"...) }}
	b := f.make(t, p)
	refused(t, b.request, b.nonce, verify.Claims)
	f.edit = func(r *protocol.Request) { r.Claims = nil }
	b = f.make(t, p)
	verified(t, b.request, b.nonce, options(t))
	f.edit = func(r *protocol.Request) { r.HPKEKey = r.HPKEKey[1:] }
	b = f.make(t, p)
	refused(t, b.request, b.nonce, verify.HPKEKey)
}
