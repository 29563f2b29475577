// Package version names this build of Ember.
package version

import (
	"strconv"
	"time"
)

// Both are set by the linker (-X).
var (
	// Version is "devel" in a build that does not set it.
	Version = "devel"
	// Date is the Unix time, in seconds, at which the sources were what they are.
	Date string
)

// Built is Date, or the zero time if the build does not know it.
func Built() time.Time {
	seconds, err := strconv.ParseInt(Date, 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
