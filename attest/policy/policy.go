// Package policy decides what an attested machine gets. It judges what package verify has found true of the
// machine, and nothing else: no clock, no network, no word of the machine itself.
//
// The first policy all of whose conditions hold is the one that applies; if there is none, the machine is
// refused, with a reason for each policy.
package policy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/verify"
)

// Policy is one policy, with the names of YAML. All conditions that are given must hold.
type Policy struct {
	// Name is for logs.
	Name string `yaml:"name"`
	// Tiers are those of which the machine must be. Never empty.
	Tiers []protocol.Tier `yaml:"tiers"`
	// Nodes are the machines that it is for, by protocol.NodeID; without any, all.
	Nodes []string `yaml:"nodes"`
	// PCRs are the values, one of which the PCR must have.
	PCRs map[int]Digests `yaml:"pcrs"`
	// Events is what the log must say of a PCR.
	Events map[int]Events `yaml:"events"`
	// Measurements are builds, one of which the machine must have booted. A policy with them must be expanded, see
	// [Expand]; as long as it is not, it is for no machine.
	Measurements Measurements `yaml:"measurements"`
	// Overlay is the name of the overlay that the machine gets, "" for none.
	Overlay string `yaml:"overlay"`
	// Version is the least that the overlay must have.
	Version uint64 `yaml:"version"`

	// log is what the build predicts that the policy was expanded with. It is no condition.
	log []Measured
}

// Events are conditions on the events of one PCR, by their SHA-256 digests. At least one is given.
type Events struct {
	// Require are digests each of which an event must have.
	Require Digests `yaml:"require" json:"require,omitempty"`
	// Only are digests one of which every event must have.
	Only Digests `yaml:"only" json:"only,omitempty"`
}

// Digest is a SHA-256; in YAML 64 digits of hex.
type Digest [32]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Codes of reasons, from the first condition to the last.
const (
	CodeNone  = "policy-none" // there are no policies
	CodeTier  = "policy-tier"
	CodeNode  = "policy-node"
	CodePCR   = "policy-pcr"
	CodeEvent = "policy-event"
)

// order is how far a machine has come.
var order = []string{CodeNone, CodeTier, CodeNode, CodePCR, CodeEvent}

// Reason is the first condition of a policy that does not hold.
type Reason struct {
	Policy  string
	Code    string
	Message string
}

func (r Reason) String() string { return fmt.Sprintf("%s: %s", r.Policy, r.Message) }

// Decision is what a machine gets. If Allow is false, the only other fields are Tier and Reasons.
type Decision struct {
	Allow   bool
	Policy  string // its name
	Tier    protocol.Tier
	Overlay string
	Version uint64
	// Reasons say why the policies before this one do not apply, or all.
	Reasons []Reason
}

// Code is the code of a refusal: of the policy that the machine came furthest with.
func (d Decision) Code() string {
	if d.Allow || len(d.Reasons) == 0 {
		return CodeNone
	}
	return slices.MaxFunc(d.Reasons, func(a, b Reason) int {
		return slices.Index(order, a.Code) - slices.Index(order, b.Code)
	}).Code
}

// Set is policies in their order.
type Set struct {
	policies []Policy
}

// New checks policies and makes a set of them.
func New(policies []Policy) (*Set, error) {
	names := make(map[string]bool)
	for i, p := range policies {
		if p.Name == "" {
			return nil, fmt.Errorf("policy %d has no name", i+1)
		}
		if names[p.Name] {
			return nil, fmt.Errorf("two policies are called %q", p.Name)
		}
		names[p.Name] = true
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("policy %q: %w", p.Name, err)
		}
	}
	return &Set{slices.Clone(policies)}, nil
}

var tiers = []protocol.Tier{protocol.Attested, protocol.Enrolled, protocol.None}

func (p *Policy) check() error {
	if len(p.Tiers) == 0 {
		return fmt.Errorf("tiers is missing: one or more of %v", tiers)
	}
	for _, tier := range p.Tiers {
		if !slices.Contains(tiers, tier) {
			return fmt.Errorf("there is no tier %q, only %v", tier, tiers)
		}
	}
	for _, node := range p.Nodes {
		if b, err := hex.DecodeString(node); err != nil || len(b) != 32 || strings.ToLower(node) != node {
			return fmt.Errorf("nodes: %q is not 64 digits of lower-case hex", node)
		}
	}
	for pcr, values := range p.PCRs {
		if err := checkPCR(pcr); err != nil {
			return fmt.Errorf("pcrs: %w", err)
		}
		if len(values) == 0 {
			return fmt.Errorf("pcrs: no value for PCR %d", pcr)
		}
	}
	for pcr, events := range p.Events {
		if err := checkPCR(pcr); err != nil {
			return fmt.Errorf("events: %w", err)
		}
		if len(events.Require) == 0 && len(events.Only) == 0 {
			return fmt.Errorf("events: PCR %d has neither require nor only", pcr)
		}
		for _, d := range events.Require {
			if len(events.Only) > 0 && !slices.Contains(events.Only, d) {
				return fmt.Errorf("events: PCR %d requires %v, which is not under only", pcr, d)
			}
		}
	}
	if err := p.Measurements.check(); err != nil {
		return err
	}
	if p.Version > 0 && p.Overlay == "" {
		return errors.New("version is that of an overlay, but there is no overlay")
	}
	return nil
}

func checkPCR(pcr int) error {
	if !slices.Contains(protocol.QuotedPCRs, pcr) {
		return fmt.Errorf("PCR %d is not quoted", pcr)
	}
	return nil
}

// Takes tells whether a policy is for machines of that tier.
func (s *Set) Takes(tier protocol.Tier) bool {
	return slices.ContainsFunc(s.policies, func(p Policy) bool { return slices.Contains(p.Tiers, tier) })
}

// Overlays are the names of the overlays that policies give, sorted.
func (s *Set) Overlays() []string {
	names := make(map[string]bool)
	for _, p := range s.policies {
		if p.Overlay != "" {
			names[p.Overlay] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Decide decides what a machine gets.
func (s *Set) Decide(e *verify.Evidence) Decision {
	d := Decision{Tier: e.Tier}
	for _, p := range s.policies {
		reason, ok := p.judge(e)
		if ok {
			d.Allow, d.Policy, d.Overlay, d.Version = true, p.Name, p.Overlay, p.Version
			return d
		}
		d.Reasons = append(d.Reasons, reason)
	}
	return d
}

// judge returns the first condition that does not hold.
func (p *Policy) judge(e *verify.Evidence) (Reason, bool) {
	not := func(code, format string, args ...any) (Reason, bool) {
		return Reason{p.Name, code, fmt.Sprintf(format, args...)}, false
	}
	if !slices.Contains(p.Tiers, e.Tier) {
		return not(CodeTier, "the machine is of tier %s, not of %v", e.Tier, p.Tiers)
	}
	if len(p.Nodes) > 0 && !slices.Contains(p.Nodes, e.Node) {
		return not(CodeNode, "the machine is not listed")
	}
	if p.Measurements.given() {
		return not(CodePCR, "the measurements %q have not been read", p.Measurements.Files)
	}
	for _, pcr := range slices.Sorted(maps.Keys(p.PCRs)) {
		value := e.PCRs[pcr]
		if !p.PCRs[pcr].contains(value) {
			return not(CodePCR, "PCR %d is %x", pcr, value)
		}
	}
	for _, pcr := range slices.Sorted(maps.Keys(p.Events)) {
		if !e.Explained[pcr] {
			return not(CodeEvent, "the log does not explain PCR %d", pcr)
		}
		if problem := p.Events[pcr].judge(pcr, e.Events); problem != "" {
			return not(CodeEvent, "%s", problem)
		}
	}
	return Reason{}, true
}

func (c Events) judge(pcr int, events []verify.Event) string {
	for _, d := range c.Require {
		if !has(events, pcr, d) {
			return fmt.Sprintf("no event of PCR %d is %v", pcr, d)
		}
	}
	for _, e := range events {
		if e.PCR == pcr && len(c.Only) > 0 && !c.Only.contains(e.Digest) {
			return fmt.Sprintf("an event of PCR %d is %x, of type %#x", pcr, e.Digest, e.Type)
		}
	}
	return ""
}

func has(events []verify.Event, pcr int, d Digest) bool {
	return slices.ContainsFunc(events, func(e verify.Event) bool { return e.PCR == pcr && bytes.Equal(e.Digest, d[:]) })
}
