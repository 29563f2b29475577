package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Summary is all that is known of a machine, in short. What is not known is nil.
type Summary struct {
	Node    string   `json:"node"`
	Machine *Machine `json:"machine,omitempty"` // what an operator has said
	Waiting *Waiting `json:"waiting,omitempty"`
	Proof   *Proof   `json:"proof,omitempty"`
	// Granted is the last grant, if it is not the one that Proof is of: nobody has opened it yet.
	Granted *Verdict `json:"granted,omitempty"`
	// Refused is the last refusal.
	Refused *Verdict `json:"refused,omitempty"`
}

// Last is the verdict that was given last, nil if there is none.
func (s *Summary) Last() *Verdict {
	var last *Verdict
	if s.Proof != nil {
		last = &s.Proof.Verdict
	}
	for _, v := range []*Verdict{s.Granted, s.Refused} {
		if v != nil && (last == nil || v.Time.After(last.Time)) {
			last = v
		}
	}
	return last
}

// Time is when something happened last, of whatever is known.
func (s *Summary) Time() time.Time {
	var t time.Time
	if v := s.Last(); v != nil {
		t = v.Time
	}
	if s.Proof != nil && s.Proof.Reported.After(t) {
		t = s.Proof.Reported
	}
	if s.Waiting != nil && s.Waiting.Last.After(t) {
		t = s.Waiting.Last
	}
	return t
}

// part is a kind of record that a summary is made of.
type part struct {
	prefix string
	add    func(*Summary, Entry) error
}

var parts = []part{
	partOf(machines, func(s *Summary, m *Machine) { s.Machine = m }),
	partOf(queue, func(s *Summary, w *Waiting) { s.Waiting = w }),
	partOf(attested, func(s *Summary, v *Verdict) { s.Granted = v }),
	partOf(proven, func(s *Summary, p *Proof) { s.Proof = p }),
	partOf(refused, (*Summary).refusal),
	partOf(strangers, (*Summary).refusal),
}

func partOf[T any](prefix string, add func(*Summary, *T)) part {
	return part{prefix, func(s *Summary, e Entry) error {
		value, err := read[T](e)
		if err == nil {
			add(s, &value)
		}
		return err
	}}
}

// refusal takes the newer of two: a machine has one as a stranger too if it was enrolled later.
func (s *Summary) refusal(v *Verdict) {
	if s.Refused == nil || v.Time.After(s.Refused.Time) {
		s.Refused = v
	}
}

func (s *Summary) settle() {
	if s.Granted != nil && s.Proof != nil && !s.Granted.Time.After(s.Proof.Time) {
		s.Granted = nil
	}
}

// Summary is that of one machine, or ErrNotFound.
func (r *Registry) Summary(ctx context.Context, node string) (Summary, error) {
	s := Summary{Node: node}
	if err := CheckNode(node); err != nil {
		return s, err
	}
	found := false
	for _, p := range parts {
		e, err := r.store.Get(ctx, p.prefix+node)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err == nil {
			err = p.add(&s, e)
		}
		if err != nil {
			return s, err
		}
		found = true
	}
	if !found {
		return s, ErrNotFound
	}
	s.settle()
	return s, nil
}

// Summaries lists at most limit of them, of machines whose names come after after, in the order of names. It
// reads at most six times as many records, each of about half a kilobyte.
func (r *Registry) Summaries(ctx context.Context, after string, limit int) ([]Summary, error) {
	found := make(map[string]*Summary)
	end := "" // names after it are not complete
	for _, p := range parts {
		from := ""
		if after != "" {
			from = p.prefix + after
		}
		entries, err := r.store.List(ctx, p.prefix, from, limit)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			node := e.Key[len(p.prefix):]
			if found[node] == nil {
				found[node] = &Summary{Node: node}
			}
			if err := p.add(found[node], e); err != nil {
				return nil, err
			}
			if len(entries) == limit && e.Key == entries[limit-1].Key && (end == "" || node < end) {
				end = node
			}
		}
	}
	all := make([]Summary, 0, len(found))
	for node, s := range found {
		if end == "" || node <= end {
			s.settle()
			all = append(all, *s)
		}
	}
	slices.SortFunc(all, func(a, b Summary) int { return cmp.Compare(a.Node, b.Node) })
	return all[:min(len(all), limit)], nil
}

// Find lists at most limit summaries that match, as Summaries does, and reads on until it has them. It reads the
// summaries of all machines if few match.
func (r *Registry) Find(ctx context.Context, after string, limit int, match func(*Summary) bool) ([]Summary, error) {
	const batch = 1000
	var all []Summary
	for {
		page, err := r.Summaries(ctx, after, batch)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if match(&page[i]) {
				if all = append(all, page[i]); len(all) == limit {
					return all, nil
				}
			}
		}
		if len(page) < batch {
			return all, nil
		}
		after = page[batch-1].Node
	}
}
