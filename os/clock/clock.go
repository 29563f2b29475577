// Package clock sets the machine's clock and has the kernel steer it, see
// adjtimex(2) and RFC 5905, section 12.
//
// Leap seconds are not announced to the kernel: one wrong announcement would put
// the clock off by a second, which is also what a leap second does that nobody
// announces.
package clock

import (
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/sys/unix"
)

// NotBefore sets the clock to the time at which this system was built if it is
// before that: a machine whose battery is empty wakes up in 1970, or in the year of
// its mainboard, where no certificate is valid yet. The zero time, of a build that
// does not know its date, changes nothing.
func NotBefore(built time.Time) (stepped bool, err error) {
	return notBefore(built, time.Now(), set)
}

func notBefore(built, now time.Time, set func(time.Time) error) (stepped bool, err error) {
	if !now.Before(built) {
		return false, nil
	}
	if err := set(built); err != nil {
		return false, fmt.Errorf("setting the clock from %v to the date of the build: %w", now.UTC().Format(time.DateTime), err)
	}
	return true, nil
}

func set(t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
}

// System is the clock of the machine.
type System struct{}

// Step moves the clock by offset at once.
func (System) Step(offset time.Duration) error {
	if _, err := unix.Adjtimex(step(offset)); err != nil {
		return fmt.Errorf("moving the clock by %v: %w", offset, err)
	}
	return nil
}

func step(offset time.Duration) *unix.Timex {
	t := unix.NsecToTimespec(int64(offset)) // rounds the seconds down
	return &unix.Timex{
		Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO,
		Time:  unix.Timeval{Sec: t.Sec, Usec: t.Nsec},
	}
}

// Slew has the kernel take away offset, at most half a second, little by little, and
// learn from it how fast the clock really is. After that the kernel holds the
// clock for synchronised: it tells programs so, and sets the RTC every 11 minutes.
// maxError is how wrong the clock may be all the same, and interval the time until
// the next call, from 16 s on.
func (System) Slew(offset, maxError, interval time.Duration) error {
	if _, err := unix.Adjtimex(slew(offset, maxError, interval)); err != nil {
		return fmt.Errorf("slewing the clock by %v: %w", offset, err)
	}
	return nil
}

func slew(offset, maxError, interval time.Duration) *unix.Timex {
	// The kernel's loop has a time constant of 2^(4+Constant) seconds.
	const base = 4
	constant := bits.Len64(uint64(interval/time.Second)) - 1 - base
	return &unix.Timex{
		Modes: unix.ADJ_OFFSET | unix.ADJ_NANO | unix.ADJ_STATUS | unix.ADJ_TIMECONST |
			unix.ADJ_MAXERROR | unix.ADJ_ESTERROR,
		Offset:   int64(offset),
		Status:   unix.STA_PLL, // and not STA_UNSYNC
		Constant: int64(max(constant, 0)),
		Maxerror: maxError.Microseconds(),
		Esterror: offset.Abs().Microseconds(),
	}
}
