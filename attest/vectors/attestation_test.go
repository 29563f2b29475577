package vectors

import (
	"crypto/hpke"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/verify"
)

// transcript is what was recorded of an attestation with swtpm: package verify has made it.
type transcript struct {
	Time     time.Time         `json:"time"`
	Root     []byte            `json:"root"`
	Nonce    []byte            `json:"nonce"`
	Request  *protocol.Request `json:"request"`
	Binding  []byte            `json:"binding"`
	HPKEKey  []byte            `json:"hpkePrivateKey"`
	Secret   []byte            `json:"activatedSecret"`
	Response protocol.Response `json:"response"`
	Grant    protocol.Grant    `json:"grant"`
}

// stepsVector is what is computed on the way from its request to its grant.
type stepsVector struct {
	EKInfo        octets    `json:"ekSubjectPublicKeyInfo"`
	Node          string    `json:"node"`
	AKName        octets    `json:"akName"`
	TLSKeyName    octets    `json:"tlsKeyName"`
	Digests       []octets  `json:"bindingDigests"`
	Binding       octets    `json:"binding"`
	ExtraData     octets    `json:"quoteExtraData"`
	PCRSelect     octets    `json:"quotePCRSelect"`
	PCRDigest     octets    `json:"quotePCRDigest"`
	Signature     [2]octets `json:"quoteSignature"` // r and s
	Certified     octets    `json:"certifiedName"`
	CertifySigned [2]octets `json:"certificationSignature"`
	Events        []logged  `json:"events"`
	PCRs          []octets  `json:"pcrs"`
	Shared        octets    `json:"shared"`
	Transcript    octets    `json:"transcript"`
	Key           octets    `json:"key"`
	Grant         string    `json:"grant"`
}

// follow does all that both sides do with a transcript, as the second implementation, and finds that all is right.
func (c *transcript) follow(t *testing.T) (v stepsVector) {
	t.Helper()
	r := c.Request
	ek, ak, tls := must[eccKey](t)(readECC(r.EK)), must[eccKey](t)(readECC(r.AK)), must[eccKey](t)(readECC(r.TLSKey))
	v.EKInfo = must[[]byte](t)(x509.MarshalPKIXPublicKey(&ek.public))
	v.Node = hex.EncodeToString(sum(v.EKInfo))
	v.AKName, v.TLSKeyName = append([]byte{0, sha256ID}, sum(r.AK)...), append([]byte{0, sha256ID}, sum(r.TLSKey)...)
	// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, sign; and restricted
	const signs, restricted = 1<<1 | 1<<4 | 1<<5 | 1<<6 | 1<<10 | 1<<18, 1 << 16
	if ak.attributes != signs|restricted || tls.attributes != signs || len(ak.policy)+len(tls.policy) > 0 {
		t.Errorf("the keys have attributes %#x and %#x", ak.attributes, tls.attributes)
	}
	b := bindingVector{Nonce: c.Nonce, EK: r.EK, AK: r.AK, TLSKey: r.TLSKey, HPKEKey: r.HPKEKey, EventLog: r.EventLog, Claims: r.Claims}
	b.fill()
	v.Digests, v.Binding = b.Digests, b.Binding

	quote, certification := must[statement](t)(readStatement(r.Quote.Attest)), must[statement](t)(readStatement(r.TLSKeyCertification.Attest))
	v.ExtraData, v.PCRSelect, v.PCRDigest, v.Certified = quote.extraData, quote.first, quote.second, certification.first
	for _, s := range []struct {
		by   protocol.Signed
		to   *[2]octets
		kind int
		said statement
	}{{r.Quote, &v.Signature, kindQuote, quote}, {r.TLSKeyCertification, &v.CertifySigned, kindCertify, certification}} {
		first, second, err := ak.signed(s.by.Attest, s.by.Signature)
		if err != nil || s.said.magic != generated || s.said.kind != s.kind {
			t.Errorf("a statement of kind %#x: %v", s.said.kind, err)
		}
		*s.to = [2]octets{first, second}
	}
	equal(t, "extraData", v.ExtraData, v.Binding)
	equal(t, "the selection", v.PCRSelect, []byte{0, 0, 0, 1, 0, sha256ID, 3, 0xff, 0xff, 0})
	equal(t, "the PCRs' digest", sum(slices.Concat(r.PCRs...)), v.PCRDigest)
	equal(t, "the certified name", v.Certified, v.TLSKeyName)

	v.Events = must[[]logged](t)(readLog(r.EventLog))
	values := replay(v.Events)
	for pcr, value := range r.PCRs {
		if values[pcr] == nil {
			values[pcr] = make([]byte, 32)
		}
		equal(t, "a PCR of the log", values[pcr], value)
		v.PCRs = append(v.PCRs, values[pcr])
	}

	g := grantVector{
		PrivateKey: c.HPKEKey, Binding: v.Binding, Secret: c.Secret, CredentialBlob: c.Response.CredentialBlob,
		EncryptedSecret: c.Response.EncryptedSecret, Encapsulated: c.Response.Encapsulated, Sealed: c.Response.Sealed,
	}
	if err := g.fill(); err != nil {
		t.Fatal(err)
	}
	v.Shared, v.Transcript, v.Key = g.Shared, g.Transcript, g.Key
	v.Grant = must[string](t)(g.open())
	return v
}

func readTranscript(t *testing.T) (c transcript) {
	t.Helper()
	b := must[[]byte](t)(os.ReadFile("../verify/testdata/transcript.json"))
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// An attestation that was recorded, from the nonce to the grant.
func TestAttestation(t *testing.T) {
	c := readTranscript(t)
	v := vectors(t, "attestation.json", func() stepsVector { return c.follow(t) })
	got, want := must[[]byte](t)(json.Marshal(c.follow(t))), must[[]byte](t)(json.Marshal(v))
	if string(got) != string(want) {
		t.Errorf("the second implementation has\n%s\nnot\n%s", got, want)
	}

	root := must[*x509.Certificate](t)(x509.ParseCertificate(c.Root))
	o := verify.Options{Roots: x509.NewCertPool(), Now: c.Time}
	o.Roots.AddCert(root)
	e, err := verify.Verify(c.Request, c.Nonce, o)
	if err != nil {
		t.Fatal(err)
	}
	if e.Node != v.Node || e.Tier != protocol.Attested || len(e.Events) != len(v.Events) {
		t.Errorf("here it is %s, %s, with %d events", e.Node, e.Tier, len(e.Events))
	}
	for i, event := range e.Events {
		if event.PCR != v.Events[i].PCR {
			t.Errorf("event %d is of PCR %d", i, event.PCR)
		}
		equal(t, "an event", event.Digest, v.Events[i].Digest)
	}
	for pcr, value := range v.PCRs {
		equal(t, "a PCR, here", e.PCRs[pcr], value)
	}
	key := must[hpke.PrivateKey](t)(hpke.MLKEM768X25519().NewPrivateKey(c.HPKEKey))
	grant, err := c.Response.Open(c.Request.Binding(c.Nonce), key, func(_, _ []byte) ([]byte, error) { return c.Secret, nil })
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the grant, here", must[[]byte](t)(json.Marshal(grant)), []byte(v.Grant))
}
