package verify_test

import (
	"crypto"
	"encoding/json"
	"testing"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
)

// BenchmarkClient is all that a machine does for one attestation, from opening the TPM to the open grant and a
// signature for TLS. The network and the server are not in it; "tpm-commands" is per attestation.
func BenchmarkClient(b *testing.B) {
	p := attesttest.New(b, "honest")
	log := p.Boot(attesttest.Firmware()...)
	o := options(b)
	count := &counting{TPM: p}
	for b.Loop() {
		s, err := tpm.Start(count)
		if err != nil {
			b.Fatal(err)
		}
		a := ask(b, s, log)
		wire, err := json.Marshal(a.request)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		response := serve(b, wire, a.nonce, o)
		b.StartTimer()
		r, err := protocol.DecodeResponse(response)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Open(a.request.Binding(a.nonce), a.key, s.Activate); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Signer().Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count.n)/float64(b.N), "tpm-commands/op")
}

type counting struct {
	*attesttest.TPM
	n int
}

func (c *counting) Send(command []byte) ([]byte, error) {
	c.n++
	return c.TPM.Send(command)
}

func serve(b *testing.B, wire, nonce []byte, o verify.Options) []byte {
	r, err := protocol.DecodeRequest(wire)
	if err != nil {
		b.Fatal(err)
	}
	e, err := verify.Verify(r, nonce, o)
	if err != nil {
		b.Fatal(err)
	}
	grant := &protocol.Grant{Version: protocol.Version, Node: e.Node, Tier: e.Tier}
	response, err := protocol.Seal(grant, r, r.Binding(nonce), random(protocol.SecretSize), e.Credential)
	if err != nil {
		b.Fatal(err)
	}
	out, err := json.Marshal(response)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// BenchmarkServer is a request, from its JSON to the sealed grant's, on one core.
func BenchmarkServer(b *testing.B) {
	a := honest(b)
	o := options(b)
	wire, err := json.Marshal(a.request)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("verify and seal", func(b *testing.B) {
		for b.Loop() {
			serve(b, wire, a.nonce, o)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		b.ReportMetric(float64(len(wire)), "bytes/request")
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if _, err := verify.Verify(a.request, a.nonce, o); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	})
}
