package agent

import (
	"context"
	"log/slog"
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

// teller logs, and says the same again only at the 2nd, 4th, 8th time and so on.
type teller struct{ times map[string]int }

const tellerLimit = 100 // texts to remember

func (t *teller) tell(log *slog.Logger, level slog.Level, text string, fields ...any) {
	if t.times == nil || len(t.times) >= tellerLimit {
		t.times = map[string]int{}
	}
	t.times[text]++
	n := t.times[text]
	if n&(n-1) != 0 {
		return
	}
	if n > 1 {
		fields = append(fields, "times", n)
	}
	log.Log(context.Background(), level, text, fields...)
}

func (t *teller) reset() { t.times = nil }
