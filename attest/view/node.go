package view

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/verify"
	"github.com/ember-os/ember/os/stage"
)

// Node is all that is known of a machine.
type Node struct {
	Row
	// Reason is why the last verdict was a refusal, for people.
	Reason string `json:"reason,omitempty"`
	// By and Since are of Enrolment.
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Waited is what an operator needs to judge a machine that waits.
	Waited *store.Waiting `json:"waiting,omitempty"`
	// Proof is the evidence of the last time that the machine was let in, Refusal that of the last refusal.
	Proof   *Evidence `json:"proof,omitempty"`
	Refusal *Evidence `json:"refusal,omitempty"`
	// Boots are those that the machine has reported, the last one first.
	Boots []Boot `json:"boots,omitempty"`
}

// Evidence is what a verdict was made of: a quote's PCRs and the log, set beside a policy.
type Evidence struct {
	Time    time.Time `json:"time"`
	Tier    string    `json:"tier,omitempty"`
	Policy  string    `json:"policy,omitempty"`
	PCRs    []PCR     `json:"pcrs"`
	Events  []Event   `json:"events,omitempty"`
	Omitted int       `json:"omitted,omitempty"` // events that were not kept
	Missing []Event   `json:"missing,omitempty"` // events that the policy requires
}

// PCR is one, of SHA-256.
type PCR struct {
	Index     int      `json:"index"`
	Value     string   `json:"value"`
	Want      []string `json:"want,omitempty"`
	Events    bool     `json:"events,omitempty"` // the policy has conditions on its events
	Explained bool     `json:"explained,omitempty"`
	Differs   bool     `json:"differs,omitempty"`
}

// Judged tells whether the policy says anything of it.
func (p *PCR) Judged() bool { return len(p.Want) > 0 || p.Events }

// Event is one of the log.
type Event struct {
	PCR     int    `json:"pcr"`
	Type    uint32 `json:"type"`
	Name    string `json:"name"` // of the type
	Digest  string `json:"digest"`
	Text    string `json:"text,omitempty"`
	Differs bool   `json:"differs,omitempty"`
}

// Boot is what a machine has said last in one boot.
type Boot struct {
	Time    time.Time       `json:"time"`
	Address string          `json:"address"`
	Health  string          `json:"health,omitempty"`
	Why     string          `json:"why,omitempty"`
	Stages  []Stage         `json:"stages"`
	Status  json.RawMessage `json:"status,omitempty"` // as ember status --json has it
}

// Stage is a stage line.
type Stage struct {
	Name   string  `json:"name"`
	T      float64 `json:"t"` // in seconds since the kernel started
	Fields string  `json:"fields,omitempty"`
}

// NodeOf makes a Node. Evidence that there is none of is nil.
func NodeOf(s *store.Summary, proof, refusal *store.Evidence, reports []store.Report) Node {
	n := Node{Row: RowOf(s), Waited: s.Waiting}
	if v := s.Last(); v != nil {
		n.Reason = v.Reason
	}
	if s.Machine != nil {
		n.By, n.Since = s.Machine.By, s.Machine.Time
	}
	if proof != nil && s.Proof != nil {
		n.Proof = evidenceOf(proof, &s.Proof.Verdict)
	}
	if refusal != nil && s.Refused != nil {
		n.Refusal = evidenceOf(refusal, s.Refused)
	}
	for _, r := range reports {
		n.Boots = append(n.Boots, bootOf(r))
	}
	return n
}

func evidenceOf(e *store.Evidence, v *store.Verdict) *Evidence {
	out := &Evidence{Time: e.Time, Tier: string(v.Tier), Policy: e.Policy, Omitted: e.Omitted, Events: events(e.Events), Missing: events(e.Missing)}
	for _, p := range e.PCRs {
		pcr := PCR{Index: p.Index, Value: hex.EncodeToString(p.Value), Events: p.Events, Explained: p.Explained, Differs: p.Differs}
		for _, want := range p.Want {
			pcr.Want = append(pcr.Want, hex.EncodeToString(want))
		}
		out.PCRs = append(out.PCRs, pcr)
	}
	return out
}

func events(list []store.Event) (out []Event) {
	for _, e := range list {
		out = append(out, Event{e.PCR, e.Type, verify.TypeName(e.Type), hex.EncodeToString(e.Digest), e.Text, e.Differs})
	}
	return out
}

func bootOf(r store.Report) Boot {
	b := Boot{Time: r.Time, Address: r.Address, Health: r.Health.State, Why: r.Health.Why, Status: r.Status, Stages: []Stage{}}
	for _, text := range r.Stages {
		if l, ok := stage.Parse(text); ok {
			b.Stages = append(b.Stages, Stage{l.Name, l.T.Seconds(), stage.FormatFields(l.Fields...)})
		}
	}
	slices.SortStableFunc(b.Stages, func(a, b Stage) int { return cmp.Compare(a.T, b.T) })
	return b
}

// Last is the evidence of the last verdict, or of the last one that there is evidence of; nil without any.
func (n *Node) Last() *Evidence {
	switch {
	case n.Refusal == nil:
		return n.Proof
	case n.Proof == nil || n.Verdict != store.Granted:
		return n.Refusal
	}
	return n.Proof
}

// Verified is the evidence as package policy takes it. What was not kept of it is missing.
func (e *Evidence) Verified(node string) (*verify.Evidence, error) {
	out := &verify.Evidence{Node: node, Tier: protocol.Tier(e.Tier), PCRs: map[int][]byte{}, Explained: map[int]bool{}}
	for _, p := range e.PCRs {
		value, err := hex.DecodeString(p.Value)
		if err != nil || len(value) != sha256.Size {
			return nil, fmt.Errorf("the value of PCR %d is not a SHA-256, 64 digits of hex", p.Index)
		}
		out.PCRs[p.Index], out.Explained[p.Index] = value, p.Explained
	}
	for i, event := range e.Events {
		digest, err := hex.DecodeString(event.Digest)
		if err != nil || len(digest) != sha256.Size {
			return nil, fmt.Errorf("the digest of event %d is not a SHA-256, 64 digits of hex", i+1)
		}
		out.Events = append(out.Events, verify.Event{PCR: event.PCR, Type: event.Type, Digest: digest})
	}
	return out, nil
}
