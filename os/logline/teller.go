package logline

import (
	"context"
	"log/slog"
)

// Teller logs what comes again and again: a text at the 1st, 2nd, 4th, 8th time and so on, with the number. The zero
// value is ready. It is of one goroutine.
type Teller struct{ times map[string]int }

const tellerLimit = 100 // texts to remember

// Tell logs a text with its fields, if it is its turn.
func (t *Teller) Tell(log *slog.Logger, level slog.Level, text string, fields ...any) {
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

// Reset has every text be a new one.
func (t *Teller) Reset() { t.times = nil }
