package client

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/ember-os/ember/attest/protocol"
)

// open opens the answer and checks that it is for this machine. What it does not believe is *Unreachable: it
// says neither yes nor no. A TPM that fails is an error of its own.
func (a *attempt) open(answer []byte) (*Result, error) {
	response, err := protocol.DecodeResponse(answer)
	if err != nil {
		return nil, &Unreachable{Err: err}
	}
	var failure error
	grant, err := response.Open(a.request.Binding(a.nonce), a.key, func(blob, encryptedSecret []byte) ([]byte, error) {
		secret, err := a.tpm.Activate(blob, encryptedSecret)
		if !errors.Is(err, protocol.ErrCredential) {
			failure = err
		}
		return secret, err
	})
	if failure != nil {
		return nil, fmt.Errorf("having the TPM open the answer: %w", failure)
	}
	if err != nil {
		return nil, &Unreachable{Err: err}
	}
	certificate, err := a.check(grant)
	if err != nil {
		return nil, &Unreachable{Err: fmt.Errorf("the grant is not for this machine: %w", err)}
	}
	return &Result{Grant: grant, Certificate: certificate, Receipt: response.Receipt, Doubtful: a.Clock.Doubtful}, nil
}

func (a *attempt) check(g *protocol.Grant) (none tls.Certificate, err error) {
	if node := a.tpm.Node(); g.Node != node {
		return none, fmt.Errorf("it names the machine %.70q, not %q", g.Node, node)
	}
	switch g.Tier {
	case protocol.Attested, protocol.Enrolled, protocol.None:
	default:
		return none, fmt.Errorf("the tier %.20q is not known", g.Tier)
	}
	if g.Time.IsZero() {
		return none, errors.New("it has no time")
	}
	if len(g.Certificates) == 0 {
		return none, errors.New("it has no certificate")
	}
	leaf, err := x509.ParseCertificate(g.Certificates[0])
	if err != nil {
		return none, fmt.Errorf("reading its certificate: %w", err)
	}
	key := a.tpm.Signer()
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return none, fmt.Errorf("comparing its certificate's key: %w", err)
	}
	switch {
	case !bytes.Equal(public, leaf.RawSubjectPublicKeyInfo):
		return none, errors.New("its certificate is for another key")
	case g.Time.After(leaf.NotAfter):
		return none, errors.New("its certificate has expired")
	}
	return tls.Certificate{Certificate: g.Certificates, PrivateKey: key, Leaf: leaf}, nil
}
