package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/verify"
)

// Codes of refusals that neither package verify nor package policy gives.
const (
	CodeMalformed       = "request-malformed"
	CodeTooLarge        = "request-too-large"
	CodeIncomplete      = "request-incomplete" // it ended early, or took too long
	CodeNotBound        = "tls-missing"        // the quote has to be bound to TLS 1.3, which is not there
	CodeNonceUnexpected = "nonce-unexpected"   // a nonce in a request to a server that gives none
	CodeNonceUnknown    = "nonce-unknown"      // a nonce that is not ours
	CodeNonceExpired    = "nonce-expired"
	CodeNonceUsed       = "nonce-used"
	CodeRateAddress     = "rate-address"  // too many requests from there
	CodeRateMachine     = "rate-machine"  // too many requests with this EK
	CodeConcurrent      = "ek-concurrent" // another request with this EK was answered at the same time
	CodeBusy            = "server-busy"
	CodeInternal        = "server-error"
	CodeStore           = "store-unavailable" // what the servers share cannot be read or written now
	CodeRevoked         = "ek-revoked"
	CodeQueued          = "ek-queued"      // unknown; waits for an operator
	CodeQueueFull       = "ek-queue-full"  // unknown, and so are too many others
	CodeUnknown         = "ek-unknown"     // unknown, and there is no queue
	CodeNoOverlay       = "overlay-absent" // the policy's overlay is not published
	CodeOldOverlay      = "overlay-old"    // what is published is older than the policy's version
	CodeExpiredOverlay  = "overlay-expired"
	CodeOthersOverlay   = "overlay-not-for-node" // its manifest is for other machines
	CodeNoCertificate   = "certificate-missing"  // a private overlay, or a report, needs a certificate of ours
	CodeReceipt         = "receipt-unknown"      // of another server, or of another certificate
)

// Codes of fetches of ciphertext that were allowed, besides CodeAllowed: all that was asked for was sent.
const (
	CodeBroken  = "fetch-broken"  // the client went away, or took nothing for a minute
	CodeNothing = "fetch-nothing" // nothing was to be sent: HEAD, a condition, a part that is not there
)

// refusal is an answer that is not the one asked for.
type refusal struct {
	status  int
	code    string
	message string        // for the machine
	detail  string        // for the audit log, "" for message
	after   time.Duration // when to come again; 0 for no advice
	unsaid  bool          // there is no line in the audit log: there is one for a refusal just before
}

func (r *refusal) Error() string {
	if r.detail != "" {
		return r.detail
	}
	return r.message
}

// failure is a refusal for a reason that is ours.
func failure(err error) *refusal {
	return &refusal{status: http.StatusInternalServerError, code: CodeInternal, message: "the server has failed", detail: err.Error()}
}

// refused makes a refusal of the error of a request.
func refused(err error) *refusal {
	var r *refusal
	var v *verify.Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &v):
		return &refusal{status: http.StatusForbidden, code: v.Code, message: v.Message}
	}
	if errors.Is(err, store.ErrUnavailable) {
		return &refusal{status: http.StatusServiceUnavailable, code: CodeStore, message: "the server cannot remember anything now", detail: err.Error(), after: storeInterval}
	}
	if errors.Is(err, context.Canceled) {
		return &refusal{status: http.StatusBadRequest, code: CodeIncomplete, message: "the request is incomplete", detail: "the client has gone"}
	}
	return failure(err)
}

func (r *refusal) write(w http.ResponseWriter) {
	if r.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((r.after+time.Second-1)/time.Second)))
	}
	writeJSON(w, r.status, protocol.Problem{Code: r.code, Message: r.message})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	b, err := json.Marshal(value)
	if err != nil { // never of the types here
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b) // an error is the other side's
}
