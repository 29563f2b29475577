package server

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits are on requests. Each number is also how many may come at once.
type Limits struct {
	AddressPerMinute int // from an IPv4 address or an IPv6 /64, but for those of Config.Proxies
	MachinePerMinute int // with one EK, whose quote has been verified
}

// DefaultLimits let a rack behind one address boot at once, and a machine not run in circles.
var DefaultLimits = Limits{AddressPerMinute: 600, MachinePerMinute: 6}

// reportsPerMinute is how many reports one machine may send: one whenever it reaches a stage, if those are some
// seconds apart.
const reportsPerMinute = 20

// generation is how many keys a limiter remembers at least, and twice of it at most.
const generation = 1 << 15

// limiters are the token buckets of requests.
type limiters struct {
	addresses *limiter[netip.Prefix]
	machines  *limiter[string]
	reports   *limiter[string]
}

func newLimiters(l Limits) *limiters {
	return &limiters{
		addresses: newLimiter[netip.Prefix](l.AddressPerMinute),
		machines:  newLimiter[string](l.MachinePerMinute),
		reports:   newLimiter[string](reportsPerMinute),
	}
}

// limiter has a token bucket for each key. Those that were not used for long are forgotten in favour of new
// ones, so that its memory is bounded.
type limiter[K comparable] struct {
	perMinute int
	mu        sync.Mutex
	young     map[K]*bucket
	old       map[K]*bucket
}

type bucket struct {
	*rate.Limiter
	refused bool // since it last had a token
}

func newLimiter[K comparable](perMinute int) *limiter[K] {
	return &limiter[K]{perMinute: perMinute, young: make(map[K]*bucket)}
}

// take takes a token. Without one it says when there will be; first tells that the one before was given.
func (l *limiter[K]) take(key K, now time.Time) (wait time.Duration, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.young[key]
	if b == nil {
		if b = l.old[key]; b == nil {
			b = &bucket{Limiter: rate.NewLimiter(rate.Limit(l.perMinute)/60, l.perMinute)}
		}
		if len(l.young) >= generation {
			l.old, l.young = l.young, make(map[K]*bucket)
		}
		l.young[key] = b
	}
	if b.AllowN(now, 1) {
		b.refused = false
		return 0, false
	}
	first, b.refused = !b.refused, true
	missing := 1 - b.TokensAt(now)
	return time.Duration(missing * float64(time.Minute) / float64(l.perMinute)), first
}
