package tpm

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/ek"
)

// endorsement finds the endorsement key: the first of ek.Profiles that has a certificate, or if none has, the
// first that the TPM can make. Which it is does not depend on anything that a former user of the TPM can
// change without the platform's authorization, but for deleting or hiding certificates.
func (s *Session) endorsement() error {
	present, err := handles(s.t, ek.Profiles[0].Certificate&^0xffff, ek.LastChain)
	if err != nil {
		return err
	}
	indices := map[tpm2.TPMHandle]bool{}
	for _, h := range present {
		indices[h] = true
	}
	var skipped []error
	for _, p := range ek.Profiles {
		if !indices[p.Certificate] {
			continue
		}
		err := s.certified(p)
		if err == nil {
			return s.chain(present)
		}
		if !said(err) {
			return err
		}
		skipped = append(skipped, err)
	}
	for _, p := range ek.Profiles {
		if s.ek, err = s.primary(tpm2.TPMRHEndorsement, p.Public); err == nil {
			return nil
		}
		if !said(err) {
			return err
		}
		skipped = append(skipped, err)
	}
	return errors.Join(skipped...)
}

var (
	errMismatch   = errors.New("the certificate is of another key")
	errUnreadable = errors.New("it holds no certificate")
)

// said tells whether an error is the TPM's word, which it would say again, and not a failure to have one.
func said(err error) bool {
	_, rc := errors.AsType[tpm2.TPMRC](err)
	return rc || errors.Is(err, errMismatch) || errors.Is(err, errUnreadable)
}

// certified has the key of a profile that has a certificate.
func (s *Session) certified(p ek.Profile) error {
	raw, err := readNV(s.t, p.Certificate)
	if err != nil {
		return err
	}
	der, _ := element(unwrap(raw))
	if der == nil {
		return fmt.Errorf("NV index %#x: %w", uint32(p.Certificate), errUnreadable)
	}
	var want crypto.PublicKey // unknown where our parser is stricter than the vendor: the server judges
	if cert, err := x509.ParseCertificate(der); err == nil {
		want = cert.PublicKey
	}
	if s.ek, err = s.endorsementKey(p, want); err != nil {
		return fmt.Errorf("endorsement key of NV index %#x: %w", uint32(p.Certificate), err)
	}
	s.certificates = [][]byte{der}
	return nil
}

// endorsementKey is the persistent key that is the wanted one, which costs nothing, or is made.
func (s *Session) endorsementKey(p ek.Profile, want crypto.PublicKey) (key, error) {
	if want != nil {
		kept, err := handles(s.t, firstEK, lastEK)
		if err != nil {
			return key{}, err
		}
		for _, h := range kept[:min(len(kept), maxKept)] {
			if k, err := s.kept(h); err == nil && k.is(want) {
				return k, nil
			}
		}
	}
	err := errMismatch
	for _, template := range variants(p.Public) {
		var k key
		if k, err = s.primary(tpm2.TPMRHEndorsement, template); err != nil {
			return key{}, err
		}
		if want == nil || k.is(want) {
			return k, nil
		}
		s.flush(k)
		err = errMismatch
	}
	return key{}, err
}

// The handles reserved for persistent endorsement keys.
const (
	firstEK tpm2.TPMHandle = 0x81010000
	lastEK  tpm2.TPMHandle = 0x810100ff
	maxKept                = 8 // that are looked at
)

func (s *Session) kept(h tpm2.TPMHandle) (key, error) {
	read, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(s.t)
	if err != nil {
		return key{}, err
	}
	return newKey(h, read.Name, read.OutPublic)
}

// variants are the templates that vendors make a profile's key from: some clear userWithAuth in the high range.
func variants(p tpm2.TPMTPublic) []tpm2.TPMTPublic {
	if !p.ObjectAttributes.UserWithAuth {
		return []tpm2.TPMTPublic{p}
	}
	other := p
	other.ObjectAttributes.UserWithAuth = false
	return []tpm2.TPMTPublic{p, other}
}

// chain reads the certificates above the EK's. Any that cannot be read are not needed by a server that has
// them itself.
func (s *Session) chain(present []tpm2.TPMHandle) error {
	var all []byte
	for _, h := range present {
		if h < ek.FirstChain || len(all) > maxChain {
			continue
		}
		b, err := readNV(s.t, h)
		if err != nil {
			if said(err) {
				break
			}
			return err
		}
		all = append(all, b...)
	}
	for len(s.certificates) < maxCertificates {
		der, rest := element(all)
		if der == nil {
			break
		}
		s.certificates, all = append(s.certificates, der), rest
	}
	return nil
}

const (
	maxChain        = 16 << 10 // bytes
	maxCertificates = 8
)

// unwrap removes the header that some TPMs have in front of a certificate, as those of version 1.2 do
// (TCG PC Client Specific Implementation Specification 1.21, 7.4.1).
func unwrap(b []byte) []byte {
	if len(b) > 5 && b[0] == 0x10 && b[1] == 0x01 && b[2] == 0x00 {
		return b[5:]
	}
	return b
}

// element cuts the first DER sequence off. What follows it in an NV index may be anything.
func element(b []byte) (first, rest []byte) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(b, &v)
	if err != nil || v.Class != asn1.ClassUniversal || v.Tag != asn1.TagSequence {
		return nil, nil
	}
	return v.FullBytes, rest
}
