package timed

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/beevik/ntp"
)

// answer is what a server said, as far as it matters.
type answer struct {
	server   string        // address, with the port if it is not NTP's
	offset   time.Duration // to be added to our clock
	distance time.Duration // how wrong the server may be: RFC 5905's root distance
	stratum  uint8
}

const (
	// minDistance stands for what a single exchange does not see (RFC 5905's MINDISP).
	minDistance = 5 * time.Millisecond
	// maxDistance is what RFC 5905 calls MAXDISP. The smaller MAXDIST would shut out
	// domain controllers, whose dispersion is often 10 s.
	maxDistance = 16 * time.Second
	// tickTolerance is by how much a server may take longer to answer, by its own
	// clock, than we waited for it.
	tickTolerance = 10 * time.Millisecond
)

// newAnswer checks a response. No clock that is before the build of this system can
// be right.
func newAnswer(server string, r *ntp.Response, built time.Time) (answer, error) {
	if err := r.Validate(); err != nil {
		return answer{}, err
	}
	t := r.Timestamps
	waited, worked := t.ClientRecv.Sub(t.ClientXmit), t.ServerXmit.Sub(t.ServerRecv)
	distance := max(waited-worked, 0)/2 + r.RootDelay/2 + r.RootDispersion
	switch {
	case t.ServerXmit.Before(built):
		return answer{}, fmt.Errorf("its clock, %v, is before the date of this build", t.ServerXmit.Format(time.DateTime))
	case waited < 0 || waited > roundTime:
		return answer{}, fmt.Errorf("the clock was set by someone else meanwhile")
	case worked < 0 || worked > waited+tickTolerance:
		return answer{}, fmt.Errorf("it worked %v on an answer that came sooner", worked)
	case r.RootDelay < 0 || r.RootDispersion < 0 || distance < 0 || distance > maxDistance:
		return answer{}, fmt.Errorf("it is not sure of its own clock: root delay %v, dispersion %v", r.RootDelay, r.RootDispersion)
	}
	// Not ClockOffset: the sum of two differences of more than 146 years overflows.
	offset := t.ServerRecv.Sub(t.ClientXmit)/2 + t.ServerXmit.Sub(t.ClientRecv)/2
	return answer{server, offset, max(distance, minDistance), r.Stratum}, nil
}

// agree tells whether both servers may be right.
func (a answer) agree(b answer) bool {
	low, high := min(a.offset, b.offset), max(a.offset, b.offset)
	return uint64(high)-uint64(low) <= uint64(a.distance+b.distance)
}

// low is the least offset that is right if the server is.
func (a answer) low() time.Duration {
	return max(a.offset, math.MinInt64+a.distance) - a.distance
}

// choose gives, of at least one answer, the nearest of the largest group, and the
// answers that are wrong if it is right. last is the server that was chosen before.
func choose(answers []answer, last string) (best answer, wrong []answer) {
	best = largest(answers, last)[0]
	for _, a := range answers {
		if !a.agree(best) {
			wrong = append(wrong, a)
		}
	}
	return best, wrong
}

// largest gives the largest group of answers that may all be right (Marzullo's
// algorithm), the nearest first. Of groups of the same size it is the one that has the
// server last, for the clock must not go to and fro between servers that disagree, else
// the one with the nearest answer.
func largest(answers []answer, last string) []answer {
	nearer := func(a, b answer) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.offset, b.offset), cmp.Compare(a.server, b.server))
	}
	answers = slices.SortedFunc(slices.Values(answers), nearer)
	var best []answer
	hadLast := false
	for _, a := range answers {
		// A largest group has the low end of one of its members in common.
		edge := answer{offset: a.low()}
		var group []answer
		hasLast := false
		for _, b := range answers {
			if b.agree(edge) {
				group = append(group, b)
				hasLast = hasLast || b.server == last
			}
		}
		isBetter := len(group) > len(best)
		if len(group) == len(best) {
			isBetter = hasLast && !hadLast || hasLast == hadLast && nearer(group[0], best[0]) < 0
		}
		if isBetter {
			best, hadLast = group, hasLast
		}
	}
	return best
}
