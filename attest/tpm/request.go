package tpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/protocol"
)

// quoteTries is how often values and quote are taken until they agree: something may extend a PCR in between.
const quoteTries = 5

// Request says what this machine is and has booted, for an answer to hpkeKey. nonce is what the quote is
// bound to, log the firmware's event log, claims a JSON object or nil. Nonce stays empty: where the server
// gave one, the caller sets it.
func (s *Session) Request(nonce, hpkeKey, log []byte, claims json.RawMessage) (*protocol.Request, error) {
	r := &protocol.Request{
		Version:             protocol.Version,
		EKCertificates:      s.certificates,
		EK:                  s.ek.encoded,
		AK:                  s.ak.encoded,
		TLSKey:              s.tls.encoded,
		TLSKeyCertification: s.certification,
		HPKEKey:             hpkeKey,
		EventLog:            log,
		Claims:              claims,
	}
	binding := r.Binding(nonce)
	for range quoteTries {
		values, err := readPCRs(s.t, protocol.QuotedPCRs)
		if err != nil {
			return nil, fmt.Errorf("reading the PCRs: %w", err)
		}
		quote, digest, err := s.quote(binding)
		if err != nil {
			return nil, fmt.Errorf("quoting: %w", err)
		}
		if sum := sha256.Sum256(bytes.Join(values, nil)); bytes.Equal(sum[:], digest) {
			r.PCRs, r.Quote = values, *quote
			return r, nil
		}
	}
	return nil, errors.New("quoting: the PCRs change all the time")
}

func selection(pcrs []int) tpm2.TPMLPCRSelection {
	bits := make([]byte, 3)
	for _, pcr := range pcrs {
		bits[pcr/8] |= 1 << (pcr % 8)
	}
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: bits}}}
}

// quote gives also the digest of the PCRs' values that it is over.
func (s *Session) quote(extraData []byte) (quote *protocol.Signed, digest []byte, err error) {
	q, err := tpm2.Quote{
		SignHandle:     s.ak.auth(),
		QualifyingData: tpm2.TPM2BData{Buffer: extraData},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      selection(protocol.QuotedPCRs),
	}.Execute(s.t)
	if err != nil {
		return nil, nil, err
	}
	attest, err := q.Quoted.Contents()
	if err != nil {
		return nil, nil, err
	}
	info, err := attest.Attested.Quote()
	if err != nil {
		return nil, nil, err
	}
	return &protocol.Signed{Attest: q.Quoted.Bytes(), Signature: tpm2.Marshal(q.Signature)}, info.PCRDigest.Buffer, nil
}
