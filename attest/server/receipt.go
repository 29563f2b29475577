package server

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/ember-os/ember/attest/store"
)

// receipts are what the server would have to remember of each grant until its machine has opened it, and that it
// has the machine remember instead: encrypted, and only good together with the grant's certificate. So a request
// in another machine's name, which anybody can make, fills no disk and takes the place of nothing.
type receipts struct{ aead cipher.AEAD }

// receipt is one, decrypted.
type receipt struct {
	Verdict  store.Verdict  `json:"verdict"`
	Evidence store.Evidence `json:"evidence"`
}

var receiptLabel = []byte("ember-attest-v1 receipt")

func newReceipts(key []byte) (*receipts, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("reading the key of receipts: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("reading the key of receipts: %w", err)
	}
	return &receipts{aead}, nil
}

func (r *receipts) seal(v store.Verdict, e store.Evidence) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // so that no character of a log makes it much larger than Evidence.Fit allows
	if err := encoder.Encode(receipt{v, e}); err != nil {
		return nil, fmt.Errorf("writing the receipt: %w", err)
	}
	return r.aead.Seal(nil, nil, b.Bytes(), receiptLabel), nil
}

// open opens the receipt of the grant with that certificate.
func (r *receipts) open(sealed []byte, node, certificate string) (receipt, error) {
	wrong := &refusal{status: http.StatusForbidden, code: CodeReceipt, message: "the receipt is not of this server and this certificate"}
	b, err := r.aead.Open(nil, nil, sealed, receiptLabel)
	if err != nil {
		return receipt{}, wrong
	}
	var opened receipt
	if err := json.Unmarshal(b, &opened); err != nil {
		return receipt{}, errors.Join(wrong, err)
	}
	if opened.Verdict.Node != node || opened.Verdict.Certificate != certificate {
		return receipt{}, wrong
	}
	return opened, nil
}
