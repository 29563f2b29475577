package verify_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
)

// otherLog has a machine send another log than its firmware has written.
func otherLog(t *testing.T, events []attesttest.Event, code string) {
	t.Helper()
	rawLog(t, attesttest.Log(events...), code)
}

func rawLog(t *testing.T, log []byte, code string) {
	t.Helper()
	p, _ := machine(t, "honest")
	b := (&forgery{log: log}).make(t, p)
	refused(t, b.request, b.nonce, code)
	b = honest(t) // somebody else has changed it on the way
	b.request.EventLog = log
	refused(t, b.request, b.nonce, verify.QuoteBinding)
}

func testOthersAK(t *testing.T) {
	one, log := machine(t, "honest")
	other, _ := machine(t, "other")
	victim := honest(t).request
	f := forgery{log: log, edit: func(r *protocol.Request) { r.EK, r.EKCertificates = victim.EK, victim.EKCertificates }}
	b := f.make(t, other)
	// It cannot be seen here, but neither TPM opens the answer.
	e := verified(t, b.request, b.nonce, options(t))
	response, err := protocol.Seal(&protocol.Grant{Version: 1}, b.request, b.request.Binding(b.nonce), random(protocol.SecretSize), e.Credential)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*attesttest.TPM{one, other} {
		s, err := tpm.Start(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := response.Open(b.request.Binding(b.nonce), b.key, s.Activate); err == nil {
			t.Error("it opens")
		}
	}
}

func testAlgorithms(t *testing.T) {
	p, log := machine(t, "honest")
	f := forgery{log: log, ak: template(true, func(a *tpm2.TPMTPublic) {
		a.Type = tpm2.TPMAlgRSA
		a.Parameters, a.Unique = rsaParameters(2048)
	})}
	ofRSA := f.make(t, p)
	refused(t, ofRSA.request, ofRSA.nonce, verify.AKAlgorithm)

	b := honest(t) // an ECC key and a signature of RSA
	b.request.Quote.Signature = ofRSA.request.Quote.Signature
	refused(t, b.request, b.nonce, verify.QuoteAlgorithm)
	b = honest(t)
	b.request.TLSKeyCertification.Signature = ofRSA.request.TLSKeyCertification.Signature
	refused(t, b.request, b.nonce, verify.TLSKeyCertification)
	b = honest(t) // an RSA key and a signature of ECC, at which go-attestation panics
	b.request.AK = ofRSA.request.AK
	refused(t, b.request, b.nonce, verify.AKAlgorithm)

	f.ak = template(true, func(a *tpm2.TPMTPublic) {
		a.Parameters = ecdsaParameters(tpm2.TPMECCNistP256, tpm2.TPMAlgSHA384)
	})
	b = f.make(t, p)
	refused(t, b.request, b.nonce, verify.AKAlgorithm)

	for _, signature := range [][]byte{nil, {0, 0x18}, {0, 0x18, 0, 4, 0, 1, 1, 0, 1, 1}, {0, 0x10, 0, 0x10}} {
		b = honest(t)
		b.request.Quote.Signature = signature
		refused(t, b.request, b.nonce, verify.QuoteAlgorithm)
	}
	for _, signature := range [][]byte{{0, 0x18, 0, 0x0b}, {0, 0x18, 0, 0x0b, 0, 0, 0, 0}} {
		b = honest(t)
		b.request.Quote.Signature = signature
		refused(t, b.request, b.nonce, verify.QuoteSignature)
	}
	b = honest(t)
	b.request.Quote.Signature = append(b.request.Quote.Signature, 0)
	refused(t, b.request, b.nonce, verify.QuoteSignature)
}

// No TPM vouches for an event's type, so it decides nothing: hidden behind EV_NO_ACTION an event is missed, and
// behind another type it is the same event.
func testRetyped(t *testing.T) {
	events := attesttest.Firmware()
	hidden := slices.Clone(events)
	hidden[20].Type = attesttest.NoAction
	otherLog(t, hidden, verify.LogReplay)

	events[20].Type = attesttest.Separator
	events[21].Data = []byte("something else was measured")
	digest := sha256.Sum256(attesttest.Firmware()[21].Data)
	events[21].Digest = digest[:]
	p, _ := machine(t, "honest")
	b := (&forgery{log: attesttest.Log(events...)}).make(t, p)
	e := verified(t, b.request, b.nonce, options(t))
	first := honest(t)
	want := verified(t, first.request, first.nonce, options(t))
	for i := range want.Events {
		if !bytes.Equal(e.Events[i].Digest, want.Events[i].Digest) {
			t.Errorf("event %d has another digest", i)
		}
	}
	if e.Events[21].Data != nil {
		t.Error("data that was not measured passes for measured")
	}
	first.request.EventLog = b.request.EventLog
	refused(t, first.request, first.nonce, verify.QuoteBinding)
}

func testTLSKey(t *testing.T) {
	b := honest(t)
	p, log := machine(t, "honest")
	his := (&forgery{log: log}).make(t, p)
	b.request.TLSKey, b.request.TLSKeyCertification = his.request.TLSKey, his.request.TLSKeyCertification
	refused(t, b.request, b.nonce, verify.QuoteBinding)

	f := forgery{log: log, edit: func(r *protocol.Request) { r.TLSKey = honest(t).request.TLSKey }}
	b = f.make(t, p)
	refused(t, b.request, b.nonce, verify.TLSKeyCertification)

	f = forgery{log: log, certified: template(false, nil)} // another key of the TPM is certified
	b = f.make(t, p)
	refused(t, b.request, b.nonce, verify.TLSKeyCertification)

	f = forgery{log: log, tls: template(false, func(a *tpm2.TPMTPublic) {
		a.ObjectAttributes.FixedTPM, a.ObjectAttributes.FixedParent = false, false
	})}
	b = f.make(t, p)
	refused(t, b.request, b.nonce, verify.TLSKeyNotFixed)

	f = forgery{log: log, tls: template(true, nil)}
	b = f.make(t, p)
	refused(t, b.request, b.nonce, verify.TLSKeyAttributes)

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b = honest(t)
	b.request.TLSKey = key.N.Bytes()
	refused(t, b.request, b.nonce, verify.TLSKeyMalformed)
}

func testCapped(t *testing.T) {
	p, log := machine(t, "honest")
	after := sha256.Sum256([]byte(protocol.CapEvent))
	capEvent := attesttest.Event{PCR: protocol.CapPCR, Type: attesttest.IPL, Digest: after[:], Data: []byte("not at all a cap")}
	events := attesttest.Firmware()
	late := func(events []attesttest.Event, code string) {
		t.Helper()
		b := (&forgery{log: attesttest.Log(events...)}).make(t, p)
		refused(t, b.request, b.nonce, code)
	}
	for range 2 {
		if err := tpm.Cap(p); err != nil {
			t.Fatal(err)
		}
		b := (&forgery{log: log}).make(t, p)
		refused(t, b.request, b.nonce, verify.Capped)
	}
	late(append(events, capEvent, capEvent), verify.Capped)
	// Whatever is extended afterwards, a log that explains it has the cap in it.
	more := attesttest.Event{PCR: protocol.CapPCR, Type: attesttest.IPL, Data: []byte("more")}
	p.Boot(more)
	late(append(events, capEvent, capEvent, more), verify.Capped)
	late(append(events, more), verify.LogReplay)
	late(events, verify.LogReplay)
	late(slices.DeleteFunc(slices.Clone(events), func(e attesttest.Event) bool { return e.PCR == protocol.CapPCR }), verify.LogIncomplete)

	// Without a log too.
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	b := (&forgery{}).make(t, p)
	verified(t, b.request, b.nonce, options(t))
	if err := tpm.Cap(p); err != nil {
		t.Fatal(err)
	}
	b = (&forgery{}).make(t, p)
	refused(t, b.request, b.nonce, verify.Capped)
	p.Boot(more)
	b = (&forgery{}).make(t, p)
	refused(t, b.request, b.nonce, verify.LogIncomplete)
	b = (&forgery{log: attesttest.Log(capEvent, more)}).make(t, p)
	refused(t, b.request, b.nonce, verify.Capped)
}
