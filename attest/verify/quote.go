package verify

import (
	"bytes"
	"crypto/sha256"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/protocol"
)

// checkQuote finds what the AK says that the PCRs are, here and now.
func checkQuote(e *Evidence, in *request, _ Options) *Refusal {
	algorithm, ok := in.ak.signs(in.Quote)
	switch {
	case !algorithm:
		return refuse(QuoteAlgorithm, "the quote is not signed by ECDSA with SHA-256")
	case !ok:
		return refuse(QuoteSignature, "the quote is not signed by the attestation key")
	}
	quote, err := readStatement(in.Quote.Attest)
	if err != nil || quote.kind != tpm2.TPMSTAttestQuote {
		return refuse(QuoteMalformed, "the quote is not a TPM2_Quote")
	}
	if !bytes.Equal(quote.extra, in.Binding(in.nonce)) {
		return refuse(QuoteBinding, "the quote is of another connection, of another time, or of another request")
	}
	if !selected(quote.pcrs) {
		return refuse(QuotePCRs, "the quote is not over PCRs 0 to 15 of the SHA-256 bank")
	}
	if len(in.PCRs) != len(protocol.QuotedPCRs) {
		return refuse(QuoteDigest, "there are %d PCRs, not %d", len(in.PCRs), len(protocol.QuotedPCRs))
	}
	h := sha256.New()
	for i, value := range in.PCRs {
		pcr := protocol.QuotedPCRs[i]
		if len(value) != sha256.Size {
			return refuse(QuoteDigest, "PCR %d has %d bytes", pcr, len(value))
		}
		h.Write(value)
		e.PCRs[pcr] = value
	}
	if !bytes.Equal(h.Sum(nil), quote.digest) {
		return refuse(QuoteDigest, "the PCRs' values are not those of the quote")
	}
	return nil
}

// selected tells whether a selection is exactly protocol.QuotedPCRs of SHA-256.
func selected(list tpm2.TPMLPCRSelection) bool {
	if len(list.PCRSelections) != 1 || list.PCRSelections[0].Hash != tpm2.TPMAlgSHA256 {
		return false
	}
	var want [32]byte
	for _, pcr := range protocol.QuotedPCRs {
		want[pcr/8] |= 1 << (pcr % 8)
	}
	got := list.PCRSelections[0].PCRSelect
	return len(got) <= len(want) && bytes.Equal(append(got[:len(got):len(got)], make([]byte, len(want)-len(got))...), want[:])
}
