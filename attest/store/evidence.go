package store

import (
	"context"
	"time"
)

// Evidence is what a verdict was made of, small enough to keep: [Evidence.Fit].
type Evidence struct {
	Time time.Time `json:"time"` // that of the verdict
	// Policy is the one that the PCRs and events are set beside, "" for none.
	Policy string `json:"policy,omitempty"`
	PCRs   []PCR  `json:"pcrs"`
	// Events are in the order of the log. There are none if the machine has no log, or one that is not right.
	Events  []Event `json:"events,omitempty"`
	Omitted int     `json:"omitted,omitempty"` // events that there was no room for
	// Missing are events that the policy requires, or that make a value which it wants, and that are not there.
	Missing []Event `json:"missing,omitempty"`
}

// PCR is one, of SHA-256.
type PCR struct {
	Index int    `json:"index"`
	Value []byte `json:"value"`
	// Want are the values that the policy allows; without any, all are right.
	Want [][]byte `json:"want,omitempty"`
	// Events says that the policy has conditions on the events of this PCR.
	Events bool `json:"events,omitempty"`
	// Explained says that the log explains the value.
	Explained bool `json:"explained,omitempty"`
	// Differs says that value or events are not as the policy wants them.
	Differs bool `json:"differs,omitempty"`
}

// Event is one of the log.
type Event struct {
	PCR    int    `json:"pcr"`
	Type   uint32 `json:"type"` // the firmware's word
	Digest []byte `json:"digest"`
	Text   string `json:"text,omitempty"` // what was measured, in short
	// Differs says that the policy does not allow it, or that it is the first that makes the PCR's value a wrong one.
	Differs bool `json:"differs,omitempty"`
}

// The bounds of Evidence.
const (
	maxEvents  = 256
	maxWant    = 8 // values of a PCR, or missing events
	maxSummary = 48 << 10
)

// Fit drops what there is no room for: allowed values after the first few, and from the end events, those that
// differ last.
func (e *Evidence) Fit() {
	for i := range e.PCRs {
		e.PCRs[i].Want = e.PCRs[i].Want[:min(len(e.PCRs[i].Want), maxWant)]
	}
	e.Missing = e.Missing[:min(len(e.Missing), maxWant)]
	for _, differing := range []bool{false, true} {
		for i := len(e.Events) - 1; i >= 0 && e.large(); i-- {
			if e.Events[i].Differs == differing {
				e.Events = append(e.Events[:i], e.Events[i+1:]...)
				e.Omitted++
			}
		}
	}
}

// large tells whether the events are too many, by what they have as JSON at most.
func (e *Evidence) large() bool {
	size := 0
	for _, event := range e.Events {
		size += 100 + 2*len(event.Text) + 4*len(event.Digest)/3
	}
	return len(e.Events) > maxEvents || size > maxSummary
}

// ProofEvidence is that of a machine's Proof, or ErrNotFound.
func (r *Registry) ProofEvidence(ctx context.Context, node string) (Evidence, error) {
	e, _, err := get[Evidence](ctx, r.store, evidenceOfProof+node)
	return e, err
}

// RefusalEvidence is that of a machine's last refusal, or ErrNotFound.
func (r *Registry) RefusalEvidence(ctx context.Context, node string) (Evidence, error) {
	e, _, err := get[Evidence](ctx, r.store, evidenceOfRefusal+node)
	return e, err
}
