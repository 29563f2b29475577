package client

import "time"

// Clock is what a machine knows of the time.
type Clock struct {
	// Time is what certificates are checked at; the zero Time is the machine's clock.
	Time time.Time
	// Doubtful says that Time may be wrong by years. A certificate that is not valid at it then counts if its
	// key is pinned.
	Doubtful bool
}

// plausible is the longest time that an image is believed to be in use.
const plausible = 20 * 365 * 24 * time.Hour

// Judge gives the time that certificates are checked at: the latest of now, the date of the build and that of
// the last success, of which those that are not known are zero. It is doubtful if it is before one of these
// two, or far in the future, or if it was before the build when the machine started, which is up ago: init
// sets such a clock to the date of the build.
func Judge(now time.Time, up time.Duration, built, last time.Time) Clock {
	c := Clock{Time: now}
	for _, known := range []time.Time{built, last} {
		if c.Time.Before(known) {
			c.Time = known
		}
	}
	c.Doubtful = c.Time.After(now) ||
		!built.IsZero() && (now.Add(-up).Before(built) || now.Sub(built) > plausible)
	return c
}
