package policy

import (
	"maps"
	"slices"

	"github.com/ember-os/ember/attest/verify"
)

// Comparison sets a machine beside all that one policy says of PCRs and events, not only beside the first
// condition that does not hold. It decides nothing.
type Comparison struct {
	Policy string
	// PCRs are those that the policy has conditions on.
	PCRs map[int]Compared
	// Wrong has the indexes of those of the machine's events that the policy does not allow.
	Wrong map[int]bool
}

// Compared is one PCR.
type Compared struct {
	Want    Digests // values, if there is a condition on them
	Events  bool    // there is a condition on its events
	Missing Digests // events that are required
	Holds   bool    // all conditions do
}

// Compare compares a machine with the policy that d has applied, or with the one that it came furthest with.
func (s *Set) Compare(e *verify.Evidence, d Decision) Comparison {
	name := d.Policy
	if !d.Allow && len(d.Reasons) > 0 {
		name = d.furthest().Policy
	}
	i := slices.IndexFunc(s.policies, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return (&Policy{Name: name}).compare(e)
	}
	return s.policies[i].compare(e)
}

func (p *Policy) compare(e *verify.Evidence) Comparison {
	c := Comparison{Policy: p.Name, PCRs: make(map[int]Compared), Wrong: make(map[int]bool)}
	for pcr, want := range p.PCRs {
		c.PCRs[pcr] = Compared{Want: want, Holds: want.contains(e.PCRs[pcr])}
	}
	for pcr, events := range p.Events {
		compared, ok := c.PCRs[pcr]
		compared.Events = true
		holds := e.Explained[pcr] && events.judge(pcr, e.Events) == ""
		compared.Holds = holds && (compared.Holds || !ok)
		for _, digest := range events.Require {
			if !has(e.Events, pcr, digest) {
				compared.Missing = append(compared.Missing, digest)
			}
		}
		for i, event := range e.Events {
			if event.PCR == pcr && len(events.Only) > 0 && !events.Only.contains(event.Digest) {
				c.Wrong[i] = true
			}
		}
		c.PCRs[pcr] = compared
	}
	return c
}

// Differing are the PCRs of which a condition does not hold, sorted.
func (c Comparison) Differing() (pcrs []int) {
	for _, pcr := range slices.Sorted(maps.Keys(c.PCRs)) {
		if !c.PCRs[pcr].Holds {
			pcrs = append(pcrs, pcr)
		}
	}
	return pcrs
}
