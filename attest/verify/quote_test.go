package verify_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
)

// The cases of a quote that proves nothing. All quotes are made by swtpm.
func TestQuote(t *testing.T) {
	t.Run("replayed", func(t *testing.T) {
		b := honest(t)
		verified(t, b.request, b.nonce, options(t))
		next := exporters(t)
		refused(t, b.request, next[0], verify.QuoteBinding)
	})
	t.Run("wrong nonce", func(t *testing.T) {
		b := honest(t)
		refused(t, b.request, random(protocol.NonceSize), verify.QuoteBinding)
		refused(t, b.request, nil, verify.QuoteBinding)
		p, log := machine(t, "honest")
		f := forgery{log: log, extraData: func([]byte) []byte { return random(32) }}
		b = f.make(t, p)
		refused(t, b.request, b.nonce, verify.QuoteBinding)
		f.extraData = func(binding []byte) []byte { return binding[:31] }
		b = f.make(t, p)
		refused(t, b.request, b.nonce, verify.QuoteBinding)
	})
	t.Run("other connection's exporter", func(t *testing.T) {
		p, log := machine(t, "honest")
		s, err := tpm.Start(p)
		if err != nil {
			t.Fatal(err)
		}
		one, other := exporters(t), exporters(t)
		r, err := s.Request(one[0], honest(t).request.HPKEKey, log, nil)
		if err != nil {
			t.Fatal(err)
		}
		verified(t, r, one[1], options(t))
		refused(t, r, other[1], verify.QuoteBinding)
	})
	t.Run("relayed by a man in the middle", func(t *testing.T) {
		p, log := machine(t, "honest")
		s, err := tpm.Start(p)
		if err != nil {
			t.Fatal(err)
		}
		toHim, fromHim := exporters(t), exporters(t)
		r, err := s.Request(toHim[0], honest(t).request.HPKEKey, log, nil)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, r, fromHim[1], verify.QuoteBinding)
	})
	t.Run("swapped AK", func(t *testing.T) {
		b := honest(t)
		p, log := machine(t, "honest")
		b.request.AK = (&forgery{log: log}).make(t, p).request.AK
		refused(t, b.request, b.nonce, verify.QuoteSignature)
	})
	t.Run("unrestricted AK", func(t *testing.T) {
		p, log := machine(t, "honest")
		f := forgery{log: log, ak: template(false, nil)}
		b := f.make(t, p)
		refused(t, b.request, b.nonce, verify.AKNotRestricted)
	})
	t.Run("AK not fixedTPM", func(t *testing.T) {
		p, log := machine(t, "honest")
		f := forgery{log: log, ak: template(true, func(a *tpm2.TPMTPublic) {
			a.ObjectAttributes.FixedTPM, a.ObjectAttributes.FixedParent = false, false
		})}
		b := f.make(t, p)
		refused(t, b.request, b.nonce, verify.AKNotFixed)
	})
	t.Run("AK of other attributes", func(t *testing.T) {
		p, log := machine(t, "honest")
		f := forgery{log: log, ak: template(true, func(a *tpm2.TPMTPublic) { a.ObjectAttributes.NoDA = false })}
		b := f.make(t, p)
		refused(t, b.request, b.nonce, verify.AKAttributes)
	})
	t.Run("AK of another TPM", testOthersAK)
	t.Run("signature-algorithm confusion", testAlgorithms)
	t.Run("SHA-1 bank only", func(t *testing.T) {
		p := attesttest.New(t, "honest")
		f := forgery{pcrs: pcrs(tpm2.TPMAlgSHA1, 0xff, 0xff, 0)}
		if err := p.Banks(tpm2.TPMAlgSHA256, tpm2.TPMAlgSHA1); err != nil {
			t.Fatal(err)
		}
		b := f.make(t, p)
		refused(t, b.request, b.nonce, verify.QuotePCRs)
		f.pcrs.PCRSelections = append(f.pcrs.PCRSelections, pcrs(tpm2.TPMAlgSHA256, 0xff, 0xff, 0).PCRSelections...)
		b = f.make(t, p)
		refused(t, b.request, b.nonce, verify.QuotePCRs)
	})
	t.Run("PCR subset", func(t *testing.T) {
		p, log := machine(t, "honest")
		f := forgery{log: log, pcrs: pcrs(tpm2.TPMAlgSHA256, 0xff, 0x7f, 0)}
		b := f.make(t, p)
		refused(t, b.request, b.nonce, verify.QuotePCRs)
		f.pcrs = pcrs(tpm2.TPMAlgSHA256, 0xff, 0xff, 1) // and a superset
		b = f.make(t, p)
		refused(t, b.request, b.nonce, verify.QuotePCRs)
	})
	t.Run("PCR 16 only", func(t *testing.T) {
		p, log := machine(t, "honest")
		f := forgery{log: log, pcrs: pcrs(tpm2.TPMAlgSHA256, 0, 0, 1)}
		b := f.make(t, p)
		refused(t, b.request, b.nonce, verify.QuotePCRs)
	})
	t.Run("altered PCR", func(t *testing.T) {
		b := honest(t)
		b.request.PCRs[4][7] ^= 1
		refused(t, b.request, b.nonce, verify.QuoteDigest)
		b = honest(t)
		b.request.PCRs[4], b.request.PCRs[5] = slices.Concat(b.request.PCRs[4], b.request.PCRs[5][:1]), b.request.PCRs[5][1:]
		refused(t, b.request, b.nonce, verify.QuoteDigest)
		b.request.PCRs = b.request.PCRs[1:]
		refused(t, b.request, b.nonce, verify.QuoteDigest)
	})
	t.Run("header-only log", func(t *testing.T) {
		p, _ := machine(t, "honest")
		f := forgery{log: attesttest.Log()}
		b := f.make(t, p)
		refused(t, b.request, b.nonce, verify.LogIncomplete)
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		b = f.make(t, p) // nothing is measured, and nothing is logged
		verified(t, b.request, b.nonce, options(t))
		if err := p.Extend(10, make([]byte, 32)); err != nil {
			t.Fatal(err)
		}
		b = f.make(t, p)
		refused(t, b.request, b.nonce, verify.LogIncomplete)
	})
	t.Run("omitted event", func(t *testing.T) {
		events := attesttest.Firmware()
		otherLog(t, slices.Delete(slices.Clone(events), 30, 31), verify.LogReplay)
		for _, test := range []struct {
			pcr  int
			code string
		}{{4, verify.LogIncomplete}, {11, verify.LogIncomplete}} { // all events of that PCR
			all := slices.DeleteFunc(slices.Clone(events), func(e attesttest.Event) bool { return e.PCR == test.pcr })
			otherLog(t, all, test.code)
		}
	})
	t.Run("reordered event", func(t *testing.T) {
		events := attesttest.Firmware()
		for i := range events {
			if events[i].PCR == events[i+1].PCR && !bytes.Equal(events[i].Data, events[i+1].Data) {
				events[i], events[i+1] = events[i+1], events[i]
				break
			}
		}
		otherLog(t, events, verify.LogReplay)
	})
	t.Run("retyped event", testRetyped)
	t.Run("giant event", func(t *testing.T) {
		log := attesttest.Log(attesttest.Firmware()...)
		size := len(attesttest.Log()) + 4 + 4 + 4 + 2 + 32 // of the first event
		binary.LittleEndian.PutUint32(log[size:], 0xfffffff0)
		rawLog(t, log, verify.LogMalformed)
		log = attesttest.Log(attesttest.Firmware()...)
		binary.LittleEndian.PutUint32(log[28:], 1<<16) // of the header
		rawLog(t, log, verify.LogMalformed)
	})
	t.Run("log over 1 MiB", func(t *testing.T) {
		events := append(attesttest.Firmware(), attesttest.Event{PCR: 16, Type: attesttest.IPL, Data: make([]byte, protocol.MaxLog)})
		otherLog(t, events, verify.LogTooLarge)
	})
	t.Run("log that is cut short", func(t *testing.T) {
		log := attesttest.Log(attesttest.Firmware()...)
		rawLog(t, log[:len(log)-1], verify.LogMalformed)
		rawLog(t, log[:20], verify.LogMalformed)
	})
	t.Run("log without SHA-256", func(t *testing.T) {
		log := attesttest.Log()
		binary.LittleEndian.PutUint16(log[32+28:], uint16(tpm2.TPMAlgSHA384))
		rawLog(t, log, verify.LogAlgorithm)
	})
	t.Run("weak curve", func(t *testing.T) {
		p, log := machine(t, "honest")
		f := forgery{log: log, ak: template(true, func(a *tpm2.TPMTPublic) {
			a.Parameters = ecdsaParameters(tpm2.TPMECCNistP224, tpm2.TPMAlgSHA256)
		})}
		b := f.make(t, p)
		refused(t, b.request, b.nonce, verify.AKAlgorithm)
		f.ak, f.tls = nil, f.ak
		f.tls.ObjectAttributes.Restricted = false
		b = f.make(t, p)
		refused(t, b.request, b.nonce, verify.TLSKeyAlgorithm)
		b = honest(t) // no point of its curve
		b.request.AK[len(b.request.AK)-1] ^= 1
		refused(t, b.request, b.nonce, verify.AKMalformed)
	})
	t.Run("TLS key swapped", testTLSKey)
	t.Run("HPKE key swapped", func(t *testing.T) {
		b := honest(t)
		his, err := protocol.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		b.request.HPKEKey = his.PublicKey().Bytes()
		refused(t, b.request, b.nonce, verify.QuoteBinding)
	})
	t.Run("quote after the cap", testCapped)
	t.Run("not a quote", func(t *testing.T) {
		b := honest(t)
		b.request.Quote = b.request.TLSKeyCertification
		refused(t, b.request, b.nonce, verify.QuoteMalformed)
		b = honest(t)
		b.request.TLSKeyCertification = b.request.Quote
		refused(t, b.request, b.nonce, verify.TLSKeyCertification)
	})
}
