package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/ek"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
)

// NV indices of certificates.
const (
	rsaLow   tpm2.TPMHandle = 0x01c00002
	p256Low  tpm2.TPMHandle = 0x01c0000a
	rsaHigh  tpm2.TPMHandle = 0x01c00012
	p256High tpm2.TPMHandle = 0x01c00014
	p384     tpm2.TPMHandle = 0x01c00016
)

// public is the key that a TPM makes from a profile.
func public(t *testing.T, p *attesttest.TPM, certificate tpm2.TPMHandle) crypto.PublicKey {
	t.Helper()
	for _, profile := range ek.Profiles {
		if profile.Certificate != certificate {
			continue
		}
		k, err := tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
			InPublic:      tpm2.New2B(profile.Public),
		}.Execute(p)
		if err != nil {
			t.Fatal(err)
		}
		area, err := k.OutPublic.Contents()
		if err != nil {
			t.Fatal(err)
		}
		key, err := tpm2.Pub(*area)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (tpm2.FlushContext{FlushHandle: k.ObjectHandle}).Execute(p); err != nil {
			t.Fatal(err)
		}
		return key
	}
	t.Fatalf("no profile of %x", certificate)
	return nil
}

// node is the name of the machine, which attests.
func node(t *testing.T, p *attesttest.TPM, certificates int) string {
	t.Helper()
	s := start(t, p)
	if r := flow(t, s); len(r.EKCertificates) != certificates {
		t.Errorf("%d certificates, want %d", len(r.EKCertificates), certificates)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Node()
}

func named(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	name, err := protocol.NodeID(key)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func without384(t *testing.T) *attesttest.TPM {
	t.Helper()
	p := attesttest.New(t, "one")
	if err := p.DeleteNV(p384); err != nil {
		t.Fatal(err)
	}
	return p
}

func bare(t *testing.T) *attesttest.TPM {
	t.Helper()
	p := without384(t)
	if err := p.DeleteNV(rsaLow); err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, p *attesttest.TPM, index tpm2.TPMHandle, data []byte) {
	t.Helper()
	if err := p.WriteNV(index, data); err != nil {
		t.Fatal(err)
	}
}

// The kinds of endorsement keys and the states of their certificates in NV.
func TestEK(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		p := bare(t)
		if got, want := node(t, p, 0), named(t, public(t, p, p256Low)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("RSA-2048", func(t *testing.T) {
		p := without384(t)
		key := public(t, p, rsaLow)
		if k, ok := key.(*rsa.PublicKey); !ok || k.N.BitLen() != 2048 {
			t.Errorf("%T", key)
		}
		if got, want := node(t, p, 1), named(t, key); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("RSA-2048, made again", func(t *testing.T) {
		p := without384(t)
		before := node(t, p, 1)
		if err := p.Evict(0x81010001); err != nil {
			t.Fatal(err)
		}
		if after := node(t, p, 1); after != before {
			t.Errorf("%s, want %s", after, before)
		}
	})
	t.Run("P-384", func(t *testing.T) {
		p := attesttest.New(t, "one")
		area, err := tpm2.ReadPublic{ObjectHandle: tpm2.TPMHandle(0x81010016)}.Execute(p)
		if err != nil {
			t.Fatal(err)
		}
		contents, err := area.OutPublic.Contents()
		if err != nil {
			t.Fatal(err)
		}
		key, err := tpm2.Pub(*contents)
		if err != nil {
			t.Fatal(err)
		}
		if k, ok := key.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P384() {
			t.Errorf("%T", key)
		}
		if got, want := node(t, p, 1), named(t, key); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	for name, index := range map[string]tpm2.TPMHandle{"P-256": p256Low, "P-256 of the high range": p256High, "RSA-2048 of the high range": rsaHigh, "P-384 with userWithAuth": p384} {
		t.Run(name, func(t *testing.T) {
			p := bare(t)
			key := public(t, p, index)
			write(t, p, index, attesttest.Certify(t, key))
			if got, want := node(t, p, 1), named(t, key); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
	t.Run("first of several", func(t *testing.T) {
		p := attesttest.New(t, "one")
		key := public(t, p, p256Low)
		write(t, p, p256Low, attesttest.Certify(t, key))
		if got, want := node(t, p, 1), named(t, key); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("trailing bytes", func(t *testing.T) {
		for _, trail := range [][]byte{make([]byte, 700), bytes.Repeat([]byte{0xff}, 700)} {
			p := bare(t)
			key := public(t, p, p256Low)
			der := attesttest.Certify(t, key)
			write(t, p, p256Low, append(der, trail...))
			s := start(t, p)
			if r := flow(t, s); len(r.EKCertificates) != 1 || !bytes.Equal(r.EKCertificates[0], der) {
				t.Error("not the certificate")
			}
		}
	})
	t.Run("header of TPM 1.2", func(t *testing.T) {
		p := bare(t)
		der := attesttest.Certify(t, public(t, p, p256Low))
		write(t, p, p256Low, append([]byte{0x10, 0x01, 0, byte(len(der) >> 8), byte(len(der))}, der...))
		node(t, p, 1)
	})
	t.Run("garbage in NV", func(t *testing.T) {
		p := attesttest.New(t, "one")
		before := node(t, p, 1)
		write(t, p, p256Low, []byte("this is no certificate"))
		if after := node(t, p, 1); after != before {
			t.Errorf("%s, want %s", after, before)
		}
		// What looks like one is for the server to judge: our parser may be too strict.
		write(t, p, p256High, []byte{0x30, 2, 5, 0})
		if got, want := node(t, p, 1), named(t, public(t, p, p256High)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("certificate of another key", func(t *testing.T) {
		p := attesttest.New(t, "one")
		before := node(t, p, 1)
		write(t, p, p256Low, attesttest.Certify(t, public(t, p, p256High)))
		if after := node(t, p, 1); after != before {
			t.Errorf("%s, want %s", after, before)
		}
	})
	t.Run("chain in NV", func(t *testing.T) {
		p := attesttest.New(t, "one")
		one, two := attesttest.Certify(t, public(t, p, p256High)), attesttest.Certify(t, public(t, p, p256Low))
		both := append(bytes.Clone(one), two...)
		write(t, p, ek.FirstChain, both[:len(one)+10])
		write(t, p, ek.FirstChain+1, append(both[len(one)+10:], 0xff, 0xff))
		s := start(t, p)
		if r := flow(t, s); len(r.EKCertificates) != 3 || !bytes.Equal(r.EKCertificates[1], one) || !bytes.Equal(r.EKCertificates[2], two) {
			t.Errorf("%d certificates", len(r.EKCertificates))
		}
	})
	t.Run("AK blob reused after a reboot", func(t *testing.T) {
		p := attesttest.New(t, "one")
		s := start(t, p)
		var saved []tpm2.TPMSContext
		for _, h := range []tpm2.TPMHandle{0x80000000, 0x80000001} { // AK and TLS key: the EK is persistent
			c, err := tpm2.ContextSave{SaveHandle: h}.Execute(p)
			if err != nil {
				t.Fatal(err)
			}
			saved = append(saved, c.Context)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for i, c := range saved {
			k, err := tpm2.ContextLoad{Context: c}.Execute(p)
			if err != nil {
				t.Fatalf("key %d cannot be loaded in the same boot: %v", i, err)
			}
			if _, err := (tpm2.FlushContext{FlushHandle: tpm2.TPMHandle(k.LoadedHandle)}).Execute(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Reboot(); err != nil {
			t.Fatal(err)
		}
		for i, c := range saved {
			if _, err := (tpm2.ContextLoad{Context: c}).Execute(p); err == nil {
				t.Errorf("key %d is loaded after a reboot", i)
			}
		}
	})
	t.Run("the same EK twice at once", func(t *testing.T) {
		one, other := start(t, attesttest.New(t, "one")), start(t, attesttest.New(t, "one"))
		if one.Node() != other.Node() {
			t.Fatal("two TPMs")
		}
		r := flow(t, one)
		flow(t, other)
		secret := bytes.Repeat([]byte{7}, protocol.SecretSize)
		if _, err := other.Activate(credential(t, r, secret)); !errors.Is(err, protocol.ErrCredential) {
			t.Errorf("one session opens what is for the other: %v", err)
		}
	})
}

// After the cap, PCR 11 has another value in every quote.
func TestCap(t *testing.T) {
	p := attesttest.New(t, "one")
	s := start(t, p)
	before := flow(t, s).PCRs
	if err := tpm.Cap(p); err != nil {
		t.Fatal(err)
	}
	after := flow(t, s).PCRs
	for i, pcr := range protocol.QuotedPCRs {
		if same := bytes.Equal(before[i], after[i]); same == (pcr == protocol.CapPCR) {
			t.Errorf("PCR %d: %x, then %x", pcr, before[i], after[i])
		}
	}
}
