// Package choose decides which link is the machine's network: the one whose
// default route and name servers are used.
//
//  1. A link with a default route beats one without: a BMC's USB NIC that gives
//     leases and leads nowhere must not win.
//  2. Then the link that the command line prefers: that of hw_addr (or BOOTIF), then
//     that of interface.
//  3. Then the link that is chosen already, so that nothing changes without need.
//  4. Then the one that was ready first.
//
// A link that is not ready any more loses to every ready one, and is taken back
// only if rule 1 or 2 says so. At the start two things are waited for: a preferred
// link, before any other is taken, for Patience; and a default route, before a link
// without one is taken, until the deadline of the whole search.
package choose

import (
	"cmp"
	"slices"
	"time"
)

// Patience is how long a preferred link is waited for while others are ready. It
// is enough for a slow switch port (autonegotiation, then a spanning tree in its
// rapid form) and two tries of DHCP.
const Patience = 20 * time.Second

// Quality is how far a link has come.
type Quality int

// The qualities, the better the later.
const (
	Nothing   Quality = iota // no carrier or no address
	RouteLess                // an address, but no way out
	Routed                   // an address and a default route
)

// Preference is what the command line thinks of a link, the better the lower.
type Preference int

// The preferences.
const (
	ByHWAddr Preference = iota
	ByInterface
	Unnamed // it does not mention the link
)

// Candidate is a link that may be chosen.
type Candidate struct {
	Name       string
	Quality    Quality
	Preference Preference
	Ready      time.Time // when it got its quality
}

// Search is the search for a link.
type Search struct {
	Best     Preference // that the command line speaks of; Unnamed if of none
	Begun    time.Time
	Deadline bool // the search has been given up once: take what there is
}

// Choose gives the name of the best candidate, "" if none is good enough yet. The
// time is when to ask again if nothing changes, zero for never.
func (s Search) Choose(candidates []Candidate, current string, now time.Time) (string, time.Time) {
	patience := s.Begun.Add(Patience)
	again := time.Time{}
	var fit []Candidate
	for _, c := range candidates {
		switch {
		case c.Quality == Nothing:
		case c.Quality == RouteLess && !s.Deadline && c.Name != current:
		case c.Preference > s.Best && current == "" && !s.Deadline && now.Before(patience):
			again = patience
		default:
			fit = append(fit, c)
		}
	}
	if len(fit) == 0 {
		return "", again
	}
	best := slices.MinFunc(fit, func(a, b Candidate) int {
		return cmp.Or(
			-cmp.Compare(a.Quality, b.Quality),
			cmp.Compare(a.Preference, b.Preference),
			cmp.Compare(other(a, current), other(b, current)),
			a.Ready.Compare(b.Ready),
			cmp.Compare(a.Name, b.Name),
		)
	})
	return best.Name, time.Time{}
}

func other(c Candidate, current string) int {
	if c.Name == current {
		return 0
	}
	return 1
}
