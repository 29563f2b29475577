// Package view is what operators see of machines, made of the records in package store: a row for a list, a
// [Node] for one machine. Its JSON is stable: fields keep their names and meaning, others may be added, and what
// is not known is left out. Digests are hex, so that they can be compared with policies.
package view

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// The states of a machine, each in a word.
const (
	Refused  = "refused"  // it has asked last, and was not let in
	Waiting  = "waiting"  // for an operator, and it has never proved anything
	Granted  = "granted"  // let in, but nobody has shown that the grant was opened
	Attested = "attested" // let in, and it has opened the grant
	Enrolled = "enrolled" // it has not asked since an operator enrolled it
	Revoked  = "revoked"
)

// States are all of them, from the one that needs somebody most.
var States = []string{Refused, Waiting, Granted, Attested, Enrolled, Revoked}

// StateOf is the state of a machine.
func StateOf(s *store.Summary) string {
	last := s.Last()
	switch {
	case s.Machine != nil && s.Machine.State == store.Revoked:
		return Revoked
	// Anybody can have a machine wait: one that has proved itself was refused, no more. A refusal is noted a moment
	// before the machine is in the queue.
	case s.Waiting != nil && s.Proof == nil && (last == nil || !last.Time.After(s.Waiting.Last.Add(time.Minute))):
		return Waiting
	case last == nil:
		return Enrolled
	// It was refused as one that nobody knows, which is over.
	case last.Code != store.Granted && last.Tier == protocol.None && s.Machine != nil && s.Machine.Time.After(last.Time):
		return Enrolled
	case last.Code != store.Granted:
		return Refused
	case s.Granted != nil:
		return Granted
	}
	return Attested
}

// Row is a machine in a list. What it has proved counts: what was said in its name and not proved is only in
// Verdict and what belongs to that, or where nothing was ever proved.
type Row struct {
	Node  string `json:"node"`
	State string `json:"state"`
	// Enrolment is what an operator has said: enrolled, revoked, or nothing; Note goes with it.
	Enrolment store.State `json:"enrolment,omitempty"`
	Note      string      `json:"note,omitempty"`
	// Proved tells whether the machine was ever let in, and was there.
	Proved   bool          `json:"proved"`
	Attested time.Time     `json:"attested,omitzero"` // when it was last
	Tier     protocol.Tier `json:"tier,omitempty"`
	Overlay  string        `json:"overlay,omitempty"`
	Version  uint64        `json:"overlayVersion,omitempty"`
	// Verdict is the last one: "ok", or the code of a refusal. Opened says that the machine proved to be the one
	// that it was about; anybody can be refused in the name of a machine.
	Verdict string    `json:"verdict,omitempty"`
	Opened  bool      `json:"opened,omitempty"`
	Time    time.Time `json:"verdictTime,omitzero"`
	Address string    `json:"address,omitempty"`
	Policy  string    `json:"policy,omitempty"`  // that has applied, or that the machine came furthest with
	Differs []int     `json:"differs,omitempty"` // PCRs
	// Image, Boot and the others are the machine's own words.
	Image    string `json:"image,omitempty"`
	Boot     string `json:"boot,omitempty"`
	Vendor   string `json:"vendor,omitempty"`
	Model    string `json:"model,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Hostname string `json:"hostname,omitempty"`
	// Health, Stage and Reported are of its last report.
	Health   string    `json:"health,omitempty"`
	Stage    string    `json:"stage,omitempty"`
	Reported time.Time `json:"reported,omitzero"`
}

// RowOf makes a row.
func RowOf(s *store.Summary) Row {
	r := Row{Node: s.Node, State: StateOf(s)}
	var claims protocol.Claims
	if s.Waiting != nil {
		r.Tier, claims, r.Address = protocol.None, s.Waiting.Claims, s.Waiting.Address
	}
	if s.Machine != nil {
		r.Enrolment, r.Note = s.Machine.State, s.Machine.Note
	}
	if v := s.Last(); v != nil {
		r.Verdict, r.Time, r.Address, r.Policy, r.Differs = v.Code, v.Time, v.Address, v.Policy, v.Differs
		r.Opened = s.Proof != nil && v == &s.Proof.Verdict
		r.Tier, r.Overlay, r.Version, claims = v.Tier, v.Overlay, v.Version, v.Claims
	}
	if p := s.Proof; p != nil {
		r.Proved, r.Attested = true, p.Time
		r.Tier, r.Overlay, r.Version, claims = p.Tier, p.Overlay, p.Version, p.Claims
		r.Health, r.Stage, r.Reported = p.Health, p.Stage, p.Reported
	}
	r.Image, r.Boot, r.Vendor, r.Model, r.Serial, r.Hostname = claims.Image, claims.Boot, claims.Vendor, claims.Model, claims.Serial, claims.Hostname
	return r
}

// OverlayText is the overlay with its version.
func (r *Row) OverlayText() string {
	if r.Overlay == "" {
		return ""
	}
	return r.Overlay + ":" + strconv.FormatUint(r.Version, 10)
}

// Filter says which rows are meant. Fields that are empty hold for all.
type Filter struct {
	Node    string // the beginning of the name
	State   string // of States
	Tier    string // a protocol.Tier
	Verdict string // "ok", or the code of a refusal
	Boot    string
	Image   string
	Overlay string // NAME, or NAME:VERSION
	Health  string
	Search  string // part of a name, a note or what the machine says of itself, in any case
}

// Match tells whether a row is meant.
func (f Filter) Match(r *Row) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return strings.HasPrefix(r.Node, f.Node) && is(f.State, r.State) && is(f.Tier, string(r.Tier)) && is(f.Boot, r.Boot) && is(f.Image, r.Image) && is(f.Health, r.Health) &&
		is(f.Verdict, r.Verdict) &&
		(is(f.Overlay, r.Overlay) || f.Overlay == r.OverlayText()) && r.contains(f.Search)
}

func (r *Row) contains(text string) bool {
	text = strings.ToLower(text)
	return text == "" || slices.ContainsFunc([]string{r.Node, r.Note, r.Vendor, r.Model, r.Serial, r.Hostname, r.Address}, func(s string) bool {
		return strings.Contains(strings.ToLower(s), text)
	})
}
