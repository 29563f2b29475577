// Package protocol has the messages of Ember's remote attestation, version 1, and what binds them together.
// docs/attestation-protocol.md specifies it; testdata/vectors.json has the test vectors.
//
// A machine sends one [Request], POST /v1/attest over TLS 1.3, whose quote is bound by [Binding] to that
// TLS connection, to the keys in the request and to all else it says. The answer is a [Response], which
// holds a [Grant] that only a machine with the TPM of the request's endorsement key and with the request's
// HPKE key can open: opening it is the proof, so one round trip is enough. Where something between the two
// ends TLS, the server answers 428 with a [Challenge], and the same message is sent again with a quote over
// its nonce.
//
// The package has no network, no TPM and no clock.
package protocol

import (
	"errors"
	"fmt"
	"time"
)

const (
	// Version is that of all messages.
	Version = 1
	// Path is where a server takes a Request.
	Path = "/v1/attest"
	// ExporterLabel is the TLS exporter's label (RFC 8446, 7.5), with an empty context and NonceSize bytes.
	ExporterLabel = "EXPORTER-ember-attest-v1"
	// NonceSize is the size of the exporter's value and of a Challenge's nonce, in bytes.
	NonceSize = 32
	// MaxRequest is the largest request, in bytes of JSON: of 1.6 million, if all in it is as large as may be.
	MaxRequest = 2 << 20
	// MaxLog is the largest event log, in bytes.
	MaxLog = 1 << 20
	// MaxResponse is the largest response, in bytes of JSON.
	MaxResponse = 1 << 20
	// CapPCR is the PCR that is extended with CapEvent once the configuration is applied, so that nothing
	// later can attest as this boot.
	CapPCR = 11
	// CapEvent is what is hashed into CapPCR.
	CapEvent = "ember-attest-v1 runtime"
)

// QuotedPCRs are the PCRs that a quote is over, all of the SHA-256 bank.
var QuotedPCRs = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// Request is what a machine says of itself. Byte strings are TPM structures as they are on the wire
// (TPM 2.0 Library, part 2), without a size in front.
type Request struct {
	Version int `json:"version"`
	// EKCertificates are the endorsement key's certificate, and those above it that the TPM has, as DER.
	// Empty if the TPM has none.
	EKCertificates [][]byte `json:"ekCertificates,omitempty"`
	// EK is the endorsement key: TPMT_PUBLIC.
	EK []byte `json:"ek"`
	// AK is the attestation key: TPMT_PUBLIC. It lives for this boot.
	AK []byte `json:"ak"`
	// TLSKey is the key that a certificate is asked for, of this boot too: TPMT_PUBLIC.
	TLSKey []byte `json:"tlsKey"`
	// TLSKeyCertification is the AK's TPM2_Certify of it.
	TLSKeyCertification Signed `json:"tlsKeyCertification"`
	// HPKEKey is the encapsulation key (RFC 9180) that the answer is sealed to, of the suite in Seal.
	HPKEKey []byte `json:"hpkeKey"`
	// Quote is TPM2_Quote over QuotedPCRs. Its extraData is Binding's value.
	Quote Signed `json:"quote"`
	// PCRs are the values of QuotedPCRs, in that order.
	PCRs [][]byte `json:"pcrs"`
	// EventLog is the firmware's log (TCG PC Client Platform Firmware Profile), or empty where there is none.
	EventLog []byte `json:"eventLog,omitempty"`
	// Claims is what the machine says that no TPM vouches for: the bytes of a JSON object, of Claims for now.
	// They are bytes, and so base64, because they are bound: JSON in JSON may be written differently on the way.
	Claims []byte `json:"claims,omitempty"`
	// Nonce is that of a Challenge, or empty if the TLS exporter's value is in its place.
	Nonce []byte `json:"nonce,omitempty"`
}

// Signed is a TPMS_ATTEST and its TPMT_SIGNATURE by the AK.
type Signed struct {
	Attest    []byte `json:"attest"`
	Signature []byte `json:"signature"`
}

// Claims are for an operator's eyes; no policy trusts them.
type Claims struct {
	Image    string `json:"image,omitempty"` // its version
	Vendor   string `json:"vendor,omitempty"`
	Model    string `json:"model,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Hostname string `json:"hostname,omitempty"`
	// Boot is where a system with last-known-good came from: "network", or "disk" for what was kept. Stages in a report
	// say it too.
	Boot string `json:"boot,omitempty"`
}

// Challenge is the answer, with status 428, to a request whose quote is bound to the TLS connection where
// the server sees another one.
type Challenge struct {
	Nonce []byte `json:"nonce"`
}

// Response is the answer, with status 200, to a machine that is let in.
type Response struct {
	Version int `json:"version"`
	// CredentialBlob and EncryptedSecret are of TPM2_MakeCredential for the EK and the AK's name:
	// the contents of a TPM2B_ID_OBJECT and of a TPM2B_ENCRYPTED_SECRET.
	CredentialBlob  []byte `json:"credentialBlob"`
	EncryptedSecret []byte `json:"encryptedSecret"`
	// Encapsulated is HPKE's enc.
	Encapsulated []byte `json:"encapsulated"`
	// Sealed is a Grant, as JSON, in AES-256-GCM.
	Sealed []byte `json:"sealed"`
	// Receipt is for the server itself, which gets it back with the machine's first report. It may be absent.
	Receipt []byte `json:"receipt,omitempty"`
}

// Grant is what an attested machine gets.
type Grant struct {
	Version int `json:"version"`
	// Time is the server's, to the second.
	Time time.Time `json:"time"`
	// Node is the machine's name: NodeID of its EK.
	Node string `json:"node"`
	// Tier is how far the machine is trusted.
	Tier Tier `json:"tier"`
	// Certificates are a client certificate for the TLS key and those above it, as DER.
	Certificates [][]byte `json:"certificates"`
	// Overlay is the machine's configuration, or nil.
	Overlay *Overlay `json:"overlay,omitempty"`
}

// Overlay is where the configuration is and what opens it.
type Overlay struct {
	// URL is of the ciphertext; one without a host is relative to the server's.
	URL string `json:"url"`
	// FileKey is age's, 16 bytes.
	FileKey []byte `json:"fileKey"`
	// Manifest is the signed manifest, as package overlay writes it.
	Manifest []byte `json:"manifest"`
}

// Tier is how far a machine is trusted.
type Tier string

const (
	Attested Tier = "attested" // the EK's certificate is of a TPM vendor that the server trusts
	Enrolled Tier = "enrolled" // an operator has enrolled the EK's public key
	None     Tier = "none"     // nothing is known of it
)

// Problem is the body of any other answer.
type Problem struct {
	Code    string `json:"code"` // one word with dashes, stable
	Message string `json:"message"`
}

// DecodeRequest reads a Request strictly: of this version, within the limits, without unknown fields.
func DecodeRequest(b []byte) (*Request, error) {
	if len(b) > MaxRequest {
		return nil, fmt.Errorf("the request has more than %d bytes", MaxRequest)
	}
	r, ok := decodePlain(b)
	if !ok {
		r = new(Request)
		if err := decode(b, r); err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
	}
	switch {
	case r.Version != Version:
		return nil, fmt.Errorf("the request is of version %d, not %d", r.Version, Version)
	case len(r.PCRs) != len(QuotedPCRs):
		return nil, fmt.Errorf("the request has %d PCRs, not %d", len(r.PCRs), len(QuotedPCRs))
	case len(r.EventLog) > MaxLog:
		return nil, fmt.Errorf("the event log has more than %d bytes", MaxLog)
	case len(r.Nonce) != 0 && len(r.Nonce) != NonceSize:
		return nil, errors.New("the nonce has a wrong size")
	}
	return r, nil
}
