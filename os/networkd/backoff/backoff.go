// Package backoff is how long a client waits for an answer.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Wait is the time behind a number of attempts, from 0. It doubles from first up to
// longest and is then up to a quarter shorter or longer, so that a rack that gets its
// power back does not ask in step.
func Wait(first, longest time.Duration, attempts int) time.Duration {
	d := first
	for ; attempts > 0 && d < longest; attempts-- {
		d *= 2
	}
	d = min(d, longest)
	return d*3/4 + rand.N(d/2)
}
