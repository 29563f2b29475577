package server

import (
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// Counters are told what a server does. They are called at the same time from many requests, and must be quick.
type Counters interface {
	// Decision is one of the audit log, with the time from the first byte of its request on. Code is a word of
	// a closed set; tier may be "".
	Decision(v Verdict, code string, tier protocol.Tier, took time.Duration)
	// Challenge is a nonce that was given.
	Challenge()
	// Report is one that was taken, with CodeAllowed, or not.
	Report(code string)
	// Overlay is a request for a ciphertext, with CodeAllowed, or refused.
	Overlay(code string)
}

// uncounted counts nothing.
type uncounted struct{}

func (uncounted) Decision(Verdict, string, protocol.Tier, time.Duration) {}
func (uncounted) Challenge()                                             {}
func (uncounted) Report(string)                                          {}
func (uncounted) Overlay(string)                                         {}
