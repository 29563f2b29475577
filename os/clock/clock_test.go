package clock

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNotBefore(t *testing.T) {
	built := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	broken := errors.New("broken")
	for _, test := range []struct {
		built, now time.Time
		setErr     error
		set        bool
	}{
		{built, time.Unix(0, 0), nil, true},
		{built, built.Add(-1), nil, true},
		{built, built, nil, false},
		{built, built.AddDate(73, 0, 0), nil, false},
		{time.Time{}, time.Unix(0, 0), nil, false},
		{built, time.Unix(0, 0), broken, true},
	} {
		var to []time.Time
		stepped, err := notBefore(test.built, test.now, func(t time.Time) error {
			to = append(to, t)
			return test.setErr
		})
		if !errors.Is(err, test.setErr) || stepped != (test.set && err == nil) {
			t.Errorf("%v: stepped %v, error %v", test.now, stepped, err)
		}
		if (len(to) == 1) != test.set || test.set && to[0] != test.built {
			t.Errorf("%v: set to %v", test.now, to)
		}
	}
}

// TestStep: the kernel refuses nanoseconds that are not those of a second.
func TestStep(t *testing.T) {
	for offset, want := range map[time.Duration]unix.Timeval{
		0:                        {},
		1:                        {Usec: 1},
		-1:                       {Sec: -1, Usec: 999_999_999},
		1500 * time.Millisecond:  {Sec: 1, Usec: 500_000_000},
		-1500 * time.Millisecond: {Sec: -2, Usec: 500_000_000},
		-2 * time.Second:         {Sec: -2},
		1<<63 - 1:                {Sec: 9223372036, Usec: 854775807},
		-1 << 63:                 {Sec: -9223372037, Usec: 145224192},
	} {
		got := step(offset)
		if got.Time != want || got.Modes != unix.ADJ_SETOFFSET|unix.ADJ_NANO {
			t.Errorf("%v: %+v, modes %#x; want %+v", offset, got.Time, got.Modes, want)
		}
	}
}

func TestSlew(t *testing.T) {
	got := *slew(-3*time.Millisecond, 20*time.Millisecond, 64*time.Second)
	want := unix.Timex{Modes: 0x203d, Offset: -3_000_000, Status: 1, Constant: 2, Maxerror: 20_000, Esterror: 3_000}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for interval, want := range map[time.Duration]int64{
		0: 0, time.Second: 0, 16 * time.Second: 0, 32 * time.Second: 1, 127 * time.Second: 2, 1024 * time.Second: 6,
	} {
		if got := slew(0, 0, interval).Constant; got != want {
			t.Errorf("%v: time constant %d, want %d", interval, got, want)
		}
	}
}
