package vectors

import (
	"bytes"
	"crypto"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
)

// exporterVector is what a TLS 1.3 connection's exporter_secret gives.
type exporterVector struct {
	Hash   string `json:"hash"` // of the cipher suite
	Secret octets `json:"exporterSecret"`
	Label  string `json:"label"`
	Nonce  octets `json:"nonce"`
}

var hashes = map[string]crypto.Hash{"SHA-256": crypto.SHA256, "SHA-384": crypto.SHA384}

func TestExporter(t *testing.T) {
	all := vectors(t, "exporter.json", func() (made []exporterVector) {
		for _, name := range []string{"SHA-256", "SHA-384"} {
			v := exporterVector{Hash: name, Secret: bytes.Repeat([]byte{byte(len(made) + 1)}, hashes[name].Size()), Label: "EXPORTER-ember-attest-v1"}
			v.Nonce = must[[]byte](t)(exporter(hashes[name], v.Secret, v.Label, 32))
			made = append(made, v)
		}
		return made
	})
	for _, v := range all {
		equal(t, "the nonce", must[[]byte](t)(exporter(hashes[v.Hash], v.Secret, v.Label, len(v.Nonce))), v.Nonce)
		if v.Label != protocol.ExporterLabel || len(v.Nonce) != protocol.NonceSize {
			t.Errorf("label %q with %d bytes, which is %q with %d here", v.Label, len(v.Nonce), protocol.ExporterLabel, protocol.NonceSize)
		}
	}
}

// bindingVector has the parts that a quote is bound to, the SHA-256 of each in the same order, and the binding.
type bindingVector struct {
	Nonce    octets   `json:"nonce"`
	EK       octets   `json:"ek"`
	AK       octets   `json:"ak"`
	TLSKey   octets   `json:"tlsKey"`
	HPKEKey  octets   `json:"hpkeKey"`
	EventLog octets   `json:"eventLog"`
	Claims   octets   `json:"claims"`
	Digests  []octets `json:"digests"`
	Binding  octets   `json:"binding"`
}

func (v *bindingVector) parts() [][]byte {
	return [][]byte{v.Nonce, v.EK, v.AK, v.TLSKey, v.HPKEKey, v.EventLog, v.Claims}
}

// fill computes what follows from the parts.
func (v *bindingVector) fill() {
	for _, part := range v.parts() {
		v.Digests = append(v.Digests, sum(part))
	}
	v.Binding = labelled("ember-attest-v1", v.parts()...)
}

func TestBinding(t *testing.T) {
	all := vectors(t, "binding.json", func() []bindingVector {
		some := bindingVector{
			Nonce: bytes.Repeat([]byte{0xee}, 32), EK: octets("ek"), AK: octets("ak"), TLSKey: octets("tls key"), HPKEKey: octets("hpke key"),
		}
		full := some
		full.Nonce = bytes.Repeat([]byte{0x0c}, 32)
		full.EventLog, full.Claims = octets("event log"), octets(`{"image":"1.2.3"}`)
		some.fill()
		full.fill()
		return []bindingVector{some, full}
	})
	for i, v := range all {
		again := v
		again.Digests = nil
		again.fill()
		for n, d := range again.Digests {
			equal(t, "a digest", d, v.Digests[n])
		}
		equal(t, "the binding", again.Binding, v.Binding)
		r := protocol.Request{EK: v.EK, AK: v.AK, TLSKey: v.TLSKey, HPKEKey: v.HPKEKey, EventLog: v.EventLog, Claims: v.Claims}
		equal(t, "the binding, here", r.Binding(v.Nonce), v.Binding)
		if len(v.EventLog) > 0 != (i == 1) {
			t.Error("a vector without a log, and one with one, are missing")
		}
	}
}

// capVector is what keeps a machine from attesting once more.
type capVector struct {
	PCR    int    `json:"pcr"`
	Event  string `json:"event"`
	Digest octets `json:"digest"`
	Capped octets `json:"capped"` // the PCR's value, if it was zero before
}

func TestCap(t *testing.T) {
	v := vectors(t, "cap.json", func() capVector {
		const event = "ember-attest-v1 runtime"
		return capVector{PCR: 11, Event: event, Digest: sum([]byte(event)), Capped: sum(make([]byte, 32), sum([]byte(event)))}
	})
	equal(t, "the event's digest", sum([]byte(v.Event)), v.Digest)
	equal(t, "the PCR", sum(make([]byte, 32), v.Digest), v.Capped)
	if v.PCR != protocol.CapPCR || v.Event != protocol.CapEvent {
		t.Errorf("here it is PCR %d and %q", protocol.CapPCR, protocol.CapEvent)
	}
}
