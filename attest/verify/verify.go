// Package verify judges a machine's request: is the quote the TPM's, is it about this request, and what does
// it say? It has no network and no store, and the time is an argument.
//
// It proves nothing of a machine that cannot open the answer: the attestation key's attributes, and that it is
// in the TPM of the endorsement key, are the machine's word until it activates [Evidence.Credential].
//
// EK certificates and event logs are read with github.com/google/go-attestation, in whose parsers a panic is
// a refusal.
package verify

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/protocol"
)

// Options are what the verifier knows beforehand.
type Options struct {
	// Roots are the TPM vendors' that make a machine Attested. Without any, none is.
	Roots *x509.CertPool
	// Intermediates help to find a way from an EK certificate to a root, as do those of the request.
	Intermediates *x509.CertPool
	// Enrolled tells whether an operator has enrolled an EK. It is asked about machines that are not Attested;
	// nil knows none.
	Enrolled func(node string) bool
	// Now is when certificates have to be valid. It must be set.
	Now time.Time
}

// Evidence is what is true of a machine that can open the answer.
type Evidence struct {
	// Node is the machine's name.
	Node string
	// EKCertificate is the EK's; nil if there is none, or none that can be read.
	EKCertificate *x509.Certificate
	// EKProblem is why the EK's certificate does not make the machine Attested; nil if it does.
	EKProblem *Refusal
	Tier      protocol.Tier
	// PCRs are the values of protocol.QuotedPCRs, of SHA-256.
	PCRs map[int][]byte
	// Events are those of quoted PCRs that the firmware has logged, in the log's order.
	Events []Event
	// Explained has the PCRs whose value is made by all Events of that PCR and nothing else. Of others a
	// condition on events must not hold: Events has none of them.
	Explained map[int]bool
	// Claims are the machine's word.
	Claims protocol.Claims
	// TLSKey is an *ecdsa.PublicKey of P-256.
	TLSKey crypto.PublicKey
	// Credential is for protocol.Seal.
	Credential protocol.Credential
}

// Event is one that a PCR was extended with.
type Event struct {
	PCR int
	// Type is the firmware's word: no TPM vouches for it.
	Type uint32
	// Digest is what the PCR was extended with: SHA-256.
	Digest []byte
	// Data is what was measured, or nil if Digest is of something else.
	Data []byte
}

// Verify judges a request whose quote must be bound to nonce: the TLS exporter's value, or that of a
// Challenge that was given to nobody before. An error is a *Refusal.
//
// A machine whose endorsement key is neither certified nor enrolled is verified as any other: its Tier is
// None.
func Verify(r *protocol.Request, nonce []byte, o Options) (e *Evidence, err error) {
	defer func() {
		if p := recover(); p != nil {
			fault := refuse(Fault, "the request makes the verifier fail")
			fault.Panic, fault.Stack = fmt.Sprint(p), string(debug.Stack())
			e, err = nil, fault
		}
	}()
	e = &Evidence{PCRs: map[int][]byte{}, Explained: map[int]bool{}}
	steps := []func(*Evidence, *request, Options) *Refusal{
		checkQuote, name, checkTLSKey, checkSealing, readClaims, checkLog, checkEK,
	}
	in, refusal := parse(r, nonce)
	for i := 0; refusal == nil && i < len(steps); i++ {
		refusal = steps[i](e, in, o)
	}
	if refusal != nil {
		if e.Node != "" {
			refusal.Evidence = &Evidence{Node: e.Node, PCRs: e.PCRs, Claims: e.Claims}
		}
		return nil, refusal
	}
	e.Credential = func(secret []byte) (blob, encryptedSecret []byte, err error) {
		return tpm2.CreateCredential(rand.Reader, in.encapsulation, in.ak.name, secret)
	}
	return e, nil
}

// request is one whose parts have been read. Its keys are of the kinds that they must be.
type request struct {
	*protocol.Request
	nonce         []byte
	ak, tls       key
	ek            crypto.PublicKey
	encapsulation tpm2.LabeledEncapsulationKey // of ek
}

func parse(r *protocol.Request, nonce []byte) (in *request, refusal *Refusal) {
	in = &request{Request: r, nonce: nonce}
	if len(nonce) != protocol.NonceSize {
		return nil, refuse(QuoteBinding, "there is no nonce that the quote could be bound to")
	}
	if refusal = in.parseEK(); refusal != nil {
		return nil, refusal
	}
	if in.ak, refusal = parseKey(r.AK, akCodes); refusal != nil {
		return nil, refusal
	}
	if in.tls, refusal = parseKey(r.TLSKey, tlsCodes); refusal != nil {
		return nil, refusal
	}
	return in, nil
}

func checkSealing(_ *Evidence, in *request, _ Options) *Refusal {
	if err := protocol.CheckKey(in.HPKEKey); err != nil {
		return refuse(HPKEKey, "the HPKE key is no encapsulation key of the suite")
	}
	return nil
}

const maxClaims = 16 << 10

func readClaims(e *Evidence, in *request, _ Options) *Refusal {
	if len(in.Claims) == 0 {
		return nil
	}
	if len(in.Claims) > maxClaims {
		return refuse(Claims, "the claims have more than %d bytes", maxClaims)
	}
	var object map[string]json.RawMessage // null and a list are none
	if err := json.Unmarshal(in.Claims, &object); err != nil || object == nil {
		return refuse(Claims, "the claims are not an object")
	}
	if err := json.Unmarshal(in.Claims, &e.Claims); err != nil {
		return refuse(Claims, "the claims cannot be read: %v", err)
	}
	return nil
}
