package verify

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/protocol"
)

// recorded is the request of the transcript.
func recorded(f *testing.F) *protocol.Request {
	f.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "transcript.json"))
	if err != nil {
		f.Fatal(err)
	}
	var c struct{ Request *protocol.Request }
	if err := json.Unmarshal(b, &c); err != nil {
		f.Fatal(err)
	}
	return c.Request
}

// A log that is read is replayed to the values that it makes, and capped after them.
func FuzzLog(f *testing.F) {
	log := recorded(f).EventLog
	f.Add(log)
	f.Add(log[:65]) // the header alone
	f.Fuzz(func(t *testing.T, b []byte) {
		log, refusal := parseLog(b)
		if refusal != nil {
			return
		}
		e := &Evidence{PCRs: map[int][]byte{}, Explained: map[int]bool{}}
		for _, pcr := range protocol.QuotedPCRs {
			e.PCRs[pcr] = make([]byte, sha256.Size)
		}
		for _, event := range log.Events(attest.HashSHA256) {
			if event.Type != noAction && e.PCRs[event.Index] != nil {
				sum := sha256.Sum256(append(bytes.Clone(e.PCRs[event.Index]), event.Digest...))
				e.PCRs[event.Index] = sum[:]
			}
		}
		if e.replay(log) != nil {
			return // a digest is missing, or a locality was told
		}
		events := log.Events(attest.HashSHA256)
		end := sha256.Sum256([]byte(protocol.CapEvent))
		after := sha256.Sum256(append(bytes.Clone(e.PCRs[protocol.CapPCR]), end[:]...))
		if !capped(events, after[:]) {
			t.Error("a cap goes unseen")
		}
	})
}

// A key that is taken has a point that can be computed with, and the name of what was read.
func FuzzKey(f *testing.F) {
	r := recorded(f)
	f.Add(r.AK)
	f.Add(r.TLSKey)
	f.Add(r.EK)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, codes := range []keyCodes{akCodes, tlsCodes} {
			k, refusal := parseKey(b, codes)
			if refusal != nil {
				continue
			}
			area, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
			if err != nil {
				t.Fatal(err)
			}
			if name, err := tpm2.ObjectName(area); err != nil || !bytes.Equal(k.name, name.Buffer) {
				t.Errorf("the name is %x, %v", k.name, err)
			}
			if _, err := k.public.ECDH(); err != nil {
				t.Error(err)
			}
		}
		in := &request{Request: &protocol.Request{EK: b}}
		if in.parseEK() != nil {
			return
		}
		if _, _, err := tpm2.CreateCredential(zeros{}, in.encapsulation, sha256.New().Sum(nil), make([]byte, protocol.SecretSize)); err != nil {
			t.Error(err)
		}
		if _, err := protocol.NodeID(in.ek); err != nil {
			t.Error(err)
		}
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	if len(b) > 0 {
		b[len(b)-1] = 1 // zero is no private key
	}
	return len(b), nil
}

func FuzzSigned(f *testing.F) {
	r := recorded(f)
	k, refusal := parseKey(r.AK, akCodes)
	if refusal != nil {
		f.Fatal(refusal)
	}
	f.Add(r.Quote.Attest, r.Quote.Signature)
	f.Add(r.TLSKeyCertification.Attest, r.TLSKeyCertification.Signature)
	f.Fuzz(func(t *testing.T, text, signature []byte) {
		if _, ok := k.signs(protocol.Signed{Attest: text, Signature: signature}); ok &&
			!bytes.Equal(text, r.Quote.Attest) && !bytes.Equal(text, r.TLSKeyCertification.Attest) {
			t.Error("a forged signature")
		}
		got, err1 := readSignature(signature)
		want, err2 := tpm2.Unmarshal[tpm2.TPMTSignature](signature)
		switch {
		case err2 != nil:
		case want.SigAlg != tpm2.TPMAlgECDSA, len(signature) > maxStructure, !bytes.Equal(tpm2.Marshal(want), signature):
			err2 = errors.New("it is another, too long, or written otherwise")
		}
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v, but go-tpm: %v", err1, err2)
		}
		if err1 != nil {
			return
		}
		if sig, err := want.Signature.ECDSA(); err != nil || got.Hash != sig.Hash ||
			!bytes.Equal(got.SignatureR.Buffer, sig.SignatureR.Buffer) || !bytes.Equal(got.SignatureS.Buffer, sig.SignatureS.Buffer) {
			t.Errorf("%+v, but go-tpm: %+v, %v", got, sig, err)
		}
	})
}

// What is recognized is what go-tpm reads.
func FuzzPublic(f *testing.F) {
	r := recorded(f)
	f.Add(r.AK)
	f.Add(r.TLSKey)
	f.Add(r.EK)
	for _, form := range forms {
		f.Add(append(form.start[:len(form.start):len(form.start)], 0, 0, 0, 0))
		f.Add(slices.Concat(form.start, []byte{0, byte(form.size)}, make([]byte, form.size), []byte{0, byte(form.size)}, make([]byte, form.size)))
		f.Add(slices.Concat(form.start, []byte{byte(form.size >> 8), byte(form.size)}, make([]byte, form.size)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err1 := readPublic(b)
		want, err2 := readAnyPublic(b)
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v, but go-tpm: %v", err1, err2)
		}
		if err1 == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, but go-tpm: %+v", got, want)
		}
	})
}

// What is read is what go-tpm reads and writes again in the same way.
func FuzzStatement(f *testing.F) {
	r := recorded(f)
	f.Add(r.Quote.Attest)
	f.Add(r.TLSKeyCertification.Attest)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err1 := readStatement(b)
		want, err2 := tpm2.Unmarshal[tpm2.TPMSAttest](b)
		switch {
		case err2 != nil:
		case want.Magic != tpm2.TPMGeneratedValue, want.Type != tpm2.TPMSTAttestQuote && want.Type != tpm2.TPMSTAttestCertify:
			err2 = errors.New("it is none of the two")
		case len(b) > maxStructure, !bytes.Equal(tpm2.Marshal(want), b):
			err2 = errors.New("it is too long, or written otherwise")
		}
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v, but go-tpm: %v", err1, err2)
		}
		if err1 != nil {
			return
		}
		if got.kind != want.Type || !bytes.Equal(got.extra, want.ExtraData.Buffer) {
			t.Errorf("%+v, but go-tpm: %+v", got, want)
		}
		if info, err := want.Attested.Quote(); err == nil {
			if !bytes.Equal(got.digest, info.PCRDigest.Buffer) || selected(got.pcrs) != selected(info.PCRSelect) || len(got.pcrs.PCRSelections) != len(info.PCRSelect.PCRSelections) {
				t.Errorf("%+v, but go-tpm: %+v", got, info)
			}
		}
		if info, err := want.Attested.Certify(); err == nil && !bytes.Equal(got.name, info.Name.Buffer) {
			t.Errorf("%+v, but go-tpm: %+v", got, info)
		}
	})
}

func FuzzCertificate(f *testing.F) {
	der := recorded(f).EKCertificates[0]
	f.Add(der)
	f.Add(append([]byte{0x10, 0x01, 0x00, byte(len(der) >> 8), byte(len(der))}, der...))
	roots := x509.NewCertPool()
	f.Fuzz(func(t *testing.T, b []byte) {
		cert, refusal := readCertificate([][]byte{b})
		if refusal != nil {
			return
		}
		if trust(cert, [][]byte{b}, Options{Roots: roots}) == nil {
			t.Error("trusted without a root")
		}
	})
}
