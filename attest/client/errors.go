package client

import (
	"fmt"
	"time"
)

// Unreachable says that there was no answer that says yes or no: no address, no connection, one that broke or
// took too long, an answer that makes no sense, or one that says to come again (429, 5xx). Whoever can drop
// packets can bring it about.
type Unreachable struct {
	Err error
	// After is when the server wants to be asked again, from now on; 0 if it did not say.
	After time.Duration
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("no answer of the attestation server: %v", e.Err)
}

func (e *Unreachable) Unwrap() error { return e.Err }

// Untrusted says that what answered did not prove to be the server. Nothing was sent to it.
type Untrusted struct {
	Err error
	// Clock says that certificates would be right at another time, and that the machine's is doubtful.
	Clock bool
}

func (e *Untrusted) Error() string {
	if e.Clock {
		return fmt.Sprintf("the attestation server can not be checked, because this machine's clock is wrong and there is no pin of the server's key: %v", e.Err)
	}
	return fmt.Sprintf("what answers at the attestation server's address is not trusted: %v", e.Err)
}

func (e *Untrusted) Unwrap() error { return e.Err }

// Refused says that the server lets the machine not in.
type Refused struct {
	Status  int    // of HTTP
	Code    string // protocol.Problem's, or "http-404" where the answer has none
	Message string // the same; may be ""
	// After is when the server wants to be asked again, from now on; 0 if it did not say.
	After time.Duration
}

func (e *Refused) Error() string {
	if e.Message == "" {
		return "the attestation server refuses this machine: " + e.Code
	}
	return fmt.Sprintf("the attestation server refuses this machine: %s (%s)", e.Message, e.Code)
}
