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

// Judge gives the time that certificates are checked at: now, or the date of the build if that is later; it is zero
// if it is not known. The time is doubtful if it is far in the future, or if it was before the build when the machine
// started, which is up ago: init sets such a clock to the date of the build.
func Judge(now time.Time, up time.Duration, built time.Time) Clock {
	c := Clock{Time: now}
	if now.Before(built) {
		c.Time = built
	}
	c.Doubtful = !built.IsZero() && (now.Add(-up).Before(built) || now.Sub(built) > plausible)
	return c
}
