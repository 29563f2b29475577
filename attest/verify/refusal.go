package verify

import "fmt"

// Refusal is why a request proves nothing.
type Refusal struct {
	Code    string // a constant of this package: stable
	Message string // a sentence, which tells the machine nothing that it does not know
	// Evidence is what was found before, if the quote is right: nil, or Node, PCRs and Claims. It is for records,
	// not for policies.
	Evidence *Evidence
	// Panic and Stack are of a Fault, for a log: they are not for the machine.
	Panic, Stack string
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

func refuse(code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Codes of refusals.
const (
	EKMalformed  = "ek-malformed"  // not a TPMT_PUBLIC
	EKWeak       = "ek-weak"       // an algorithm, size, curve or point that nothing can be encrypted to
	EKAttributes = "ek-attributes" // not an endorsement key as the EK Credential Profile has them
	EKMismatch   = "ek-mismatch"   // the certificate is of another key

	AKMalformed     = "ak-malformed"      // not a TPMT_PUBLIC
	AKAlgorithm     = "ak-algorithm"      // not P-256 with ECDSA and SHA-256
	AKNotFixed      = "ak-not-fixed"      // not made by the TPM, or able to leave it
	AKNotRestricted = "ak-not-restricted" // signs also what the TPM has not made
	AKAttributes    = "ak-attributes"     // others than an attestation key has

	TLSKeyMalformed     = "tls-key-malformed"
	TLSKeyAlgorithm     = "tls-key-algorithm"
	TLSKeyNotFixed      = "tls-key-not-fixed"
	TLSKeyAttributes    = "tls-key-attributes"
	TLSKeyCertification = "tls-key-certification" // not by the AK, or of another key

	HPKEKey = "hpke-key" // not of the suite

	QuoteMalformed = "quote-malformed" // not a TPMS_ATTEST of TPM2_Quote
	QuoteAlgorithm = "quote-algorithm" // signed by another algorithm than ECDSA with SHA-256
	QuoteSignature = "quote-signature" // not by the AK
	QuoteBinding   = "quote-binding"   // of another connection or nonce, or another request
	QuotePCRs      = "quote-pcrs"      // other PCRs, or of another bank, than protocol.QuotedPCRs
	QuoteDigest    = "quote-digest"    // of other values than the request's

	LogTooLarge   = "log-too-large"
	LogMalformed  = "log-malformed"
	LogAlgorithm  = "log-algorithm"  // has no SHA-256 digests
	LogIncomplete = "log-incomplete" // says nothing of a PCR that must be explained
	LogReplay     = "log-replay"     // what it says makes another value of a PCR than the quoted one
	Capped        = "capped"         // the boot is over: what asks is not what was measured

	Claims = "claims-malformed"
	Fault  = "verifier-fault" // a panic in a parser
)

// Codes of Evidence.EKProblem.
const (
	EKUncertified          = "ek-uncertified" // no certificate
	EKCertificateMalformed = "ek-certificate-malformed"
	EKCertificateUsage     = "ek-certificate-usage" // not for an endorsement key
	EKExpired              = "ek-expired"           // or not valid yet
	EKSelfSigned           = "ek-self-signed"
	EKUntrusted            = "ek-untrusted" // no way to a root
)
