package agent

import (
	"math/rand/v2"
	"time"
)

// The pauses before another try.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// pauses is the pauses after failures in a row.
type pauses struct{ failures int }

// next is a random time between the half and the whole of firstPause, doubled with
// each failure up to lastPause: machines that fail together do not try together.
func (p *pauses) next() time.Duration {
	d := lastPause
	if p.failures < 5 {
		d = min(d, firstPause<<p.failures)
	}
	p.failures++
	return d/2 + rand.N(d/2)
}

func (p *pauses) reset() { p.failures = 0 }
