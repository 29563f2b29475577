package unit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// infinity is the word for no limit, and no limit as a time span.
const (
	infinity      = "infinity"
	forever       = time.Duration(math.MaxInt64)
	unlimited     = math.MaxUint64
	cgroupNoLimit = "max"
)

func parseBool(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "1", "yes", "y", "true", "t", "on":
		return true, nil
	case "0", "no", "n", "false", "f", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither yes nor no", value)
}

// spans is the units of time, those of systemd.time(7).
var spans = map[string]time.Duration{
	"nsec": 1, "ns": 1,
	"usec": time.Microsecond, "us": time.Microsecond, "µs": time.Microsecond, "μs": time.Microsecond,
	"msec": time.Millisecond, "ms": time.Millisecond,
	"seconds": time.Second, "second": time.Second, "sec": time.Second, "s": time.Second, "": time.Second,
	"minutes": time.Minute, "minute": time.Minute, "min": time.Minute, "m": time.Minute,
	"hours": time.Hour, "hour": time.Hour, "hr": time.Hour, "h": time.Hour,
	"days": day, "day": day, "d": day,
	"weeks": 7 * day, "week": 7 * day, "w": 7 * day,
	"months": year / 12, "month": year / 12, "M": year / 12,
	"years": year, "year": year, "y": year,
}

const (
	day  = 24 * time.Hour
	year = 365*day + 6*time.Hour
)

// parseSpan reads a time span as in systemd.time(7): "5min 20s", "90", "infinity",
// which is forever.
func parseSpan(value string) (time.Duration, error) {
	if value == infinity {
		return forever, nil
	}
	wrong := fmt.Errorf("%q is not a time span such as %q", value, "5min 20s")
	rest, sum := strings.TrimSpace(value), 0.0
	if rest == "" {
		return 0, wrong
	}
	for rest != "" {
		n := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		number, err := strconv.ParseFloat(rest[:n], 64)
		if err != nil {
			return 0, wrong
		}
		rest = strings.TrimLeft(rest[n:], " \t")
		end := strings.IndexAny(rest, " \t0123456789.")
		if end < 0 {
			end = len(rest)
		}
		unit, ok := spans[rest[:end]]
		if !ok {
			return 0, wrong
		}
		sum += number * float64(unit)
		rest = strings.TrimLeft(rest[end:], " \t")
	}
	if sum >= float64(forever) {
		return 0, fmt.Errorf("%q is too long; %q is for ever", value, infinity)
	}
	return time.Duration(math.Round(sum)), nil
}

// parseLimit reads "soft:hard" or one number for both.
func parseLimit(value string, number func(string) (uint64, error)) (*Limit, error) {
	soft, hard, two := strings.Cut(value, ":")
	if !two {
		hard = soft
	}
	s, err := number(soft)
	if err != nil {
		return nil, err
	}
	h, err := number(hard)
	if err != nil {
		return nil, err
	}
	if s > h {
		return nil, errors.New("the soft limit is above the hard one")
	}
	return &Limit{s, h}, nil
}

func parseCount(value string) (uint64, error) {
	if value == infinity {
		return unlimited, nil
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a number nor %q", value, infinity)
	}
	return n, nil
}

// parseSize reads a number of bytes: K, M, G, T, P and E are powers of 1024.
func parseSize(value string) (uint64, error) {
	if value == infinity {
		return unlimited, nil
	}
	digits, shift := strings.TrimSuffix(value, "B"), 0
	if digits != "" {
		if i := strings.IndexByte("KMGTPE", digits[len(digits)-1]); i >= 0 {
			digits, shift = digits[:len(digits)-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > math.MaxUint64>>shift {
		return 0, fmt.Errorf("%q is neither a size such as %q nor %q", value, "64M", infinity)
	}
	return n << shift, nil
}

// parseTasks returns what a cgroup's pids.max holds.
func parseTasks(value string) (string, error) {
	if value == infinity {
		return cgroupNoLimit, nil
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n == 0 {
		return "", fmt.Errorf("%q is neither a number nor %q", value, infinity)
	}
	return strconv.FormatUint(n, 10), nil
}
