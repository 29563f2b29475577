package policy

import "github.com/ember-os/ember/attest/verify"

// Explained is how one policy takes a machine.
type Explained struct {
	Policy string
	// Applies is that this is the one that decides. Holds is that its conditions hold: one of those behind the
	// one that applies may hold as well.
	Applies, Holds bool
	// Reason is the first condition that does not hold.
	Reason Reason
	// Comparison is all that it says of PCRs and events.
	Comparison Comparison
	Overlay    string
	Version    uint64
}

// Explain tells of every policy how it takes a machine, in their order.
func (s *Set) Explain(e *verify.Evidence) []Explained {
	all := make([]Explained, len(s.policies))
	decided := false
	for i := range s.policies {
		p := &s.policies[i]
		reason, holds := p.judge(e)
		all[i] = Explained{
			Policy: p.Name, Applies: holds && !decided, Holds: holds, Reason: reason, Comparison: p.compare(e),
			Overlay: p.Overlay, Version: p.Version,
		}
		decided = decided || holds
	}
	return all
}

// Names are those of the policies, in their order.
func (s *Set) Names() []string {
	names := make([]string, len(s.policies))
	for i, p := range s.policies {
		names[i] = p.Name
	}
	return names
}
