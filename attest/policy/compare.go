package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
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
	// Wrong has the indexes of those of the machine's events that the policy does not allow. Of a PCR with a wrong
	// value that is the first event which is not as predicted.
	Wrong map[int]bool
}

// Compared is one PCR.
type Compared struct {
	Want    Digests    // values, if there is a condition on them
	Events  bool       // there is a condition on its events
	Missing []Measured // events that are required, or predicted for a value; What is "" if it is not known
	Holds   bool       // all conditions do
}

// Compare compares a machine with the policy that d has applied, or with the nearest of those that it came furthest
// with: of which the fewest PCRs differ, and then the fewest events.
func (s *Set) Compare(e *verify.Evidence, d Decision) Comparison {
	if d.Allow || len(d.Reasons) == 0 {
		return s.compare(d.Policy, e)
	}
	var furthest []Comparison
	for _, r := range d.Reasons {
		if r.Code == d.Code() {
			furthest = append(furthest, s.compare(r.Policy, e))
		}
	}
	return slices.MinFunc(furthest, func(a, b Comparison) int {
		return cmp.Or(len(a.Differing())-len(b.Differing()), a.events()-b.events())
	})
}

func (s *Set) compare(name string, e *verify.Evidence) Comparison {
	i := slices.IndexFunc(s.policies, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return (&Policy{Name: name}).compare(e)
	}
	return s.policies[i].compare(e)
}

func (p *Policy) compare(e *verify.Evidence) Comparison {
	c := Comparison{Policy: p.Name, PCRs: make(map[int]Compared), Wrong: make(map[int]bool)}
	for pcr, want := range p.PCRs {
		compared := Compared{Want: want, Holds: want.contains(e.PCRs[pcr])}
		if !compared.Holds {
			var wrong int
			if wrong, compared.Missing = p.walk(pcr, e); wrong >= 0 {
				c.Wrong[wrong] = true
			}
		}
		c.PCRs[pcr] = compared
	}
	for pcr, events := range p.Events {
		compared, ok := c.PCRs[pcr]
		compared.Events = true
		holds := e.Explained[pcr] && events.judge(pcr, e.Events) == ""
		compared.Holds = holds && (compared.Holds || !ok)
		for _, digest := range events.Require {
			if !has(e.Events, pcr, digest) {
				compared.Missing = append(compared.Missing, p.measured(pcr, digest))
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

// walk goes through the events of a PCR with a wrong value, beside those that were predicted, up to the first that
// is another one: it is wrong, -1 if there is none. Those that were predicted from there on and do not come later are
// missing. Nothing is said where one of the two logs is not all that a value is made of.
func (p *Policy) walk(pcr int, e *verify.Evidence) (wrong int, missing []Measured) {
	var predicted []Measured
	var want, got [][]byte
	for _, m := range p.log {
		if m.PCR == pcr {
			predicted, want = append(predicted, m), append(want, m.Digest[:])
		}
	}
	var indexes []int
	for i, event := range e.Events {
		if event.PCR == pcr {
			indexes, got = append(indexes, i), append(got, event.Digest)
		}
	}
	if !p.PCRs[pcr].contains(replay(want)) || !bytes.Equal(replay(got), e.PCRs[pcr]) {
		return -1, nil
	}
	same := 0
	for same < min(len(got), len(want)) && bytes.Equal(got[same], want[same]) {
		same++
	}
	wrong = -1
	if same < len(got) {
		wrong = indexes[same]
	}
	later := got[same:]
	for _, m := range predicted[same:] {
		if i := slices.IndexFunc(later, func(d []byte) bool { return bytes.Equal(d, m.Digest[:]) }); i >= 0 {
			later = slices.Delete(later, i, i+1)
		} else {
			missing = append(missing, m)
		}
	}
	return wrong, missing
}

// replay is the value of a PCR with these events.
func replay(digests [][]byte) []byte {
	value := make([]byte, sha256.Size)
	for _, d := range digests {
		sum := sha256.Sum256(slices.Concat(value, d))
		value = sum[:]
	}
	return value
}

// measured is an event with what is known of it.
func (p *Policy) measured(pcr int, d Digest) Measured {
	i := slices.IndexFunc(p.log, func(m Measured) bool { return m.PCR == pcr && m.Digest == d })
	if i < 0 {
		return Measured{PCR: pcr, Digest: d}
	}
	return p.log[i]
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

// events is how many are wrong or missing.
func (c Comparison) events() int {
	n := len(c.Wrong)
	for _, compared := range c.PCRs {
		n += len(compared.Missing)
	}
	return n
}
