package attest

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/ember-os/ember/attest/client"
)

// pauses before another try.
const (
	firstPause, lastPause     = time.Second, time.Minute
	firstRefusal, lastRefusal = time.Minute, 5 * time.Minute
)

// pauses is how long to wait after each of several errors.
type pauses struct{ quick, slow int }

// after is longer with each error, up to a limit, give or take a fifth. A server that refuses is not asked as
// often as one that does not answer, and one that says when, then.
func (p *pauses) after(err error) time.Duration {
	if gone, ok := errors.AsType[*client.Unreachable](err); ok && gone.After > 0 {
		return gone.After
	}
	d, most, n := firstPause, lastPause, &p.quick
	if refused, ok := errors.AsType[*client.Refused](err); ok {
		if refused.After > 0 {
			return refused.After
		}
		d, most, n = firstRefusal, lastRefusal, &p.slow
	}
	if _, ok := errors.AsType[unfit](err); ok {
		d, most, n = lastRefusal, lastRefusal, &p.slow
	}
	d = min(d<<min(*n, 10), most)
	*n++
	return d*4/5 + rand.N(d*2/5)
}
