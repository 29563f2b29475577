package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	maxPause = 15 * time.Second
	maxAfter = 15 * time.Minute // the longest that a server is obeyed
)

// repeat does try until it gives something other than *Unreachable, or until the next attempt would begin
// after the budget. Between attempts is pause, then twice as long each time, give or take a fifth, or what the
// server asks for.
func repeat(ctx context.Context, budget, pause time.Duration, try func() error) error {
	end := time.Now().Add(budget)
	for attempts := 1; ; attempts++ {
		err := try()
		gone, ok := errors.AsType[*Unreachable](err)
		if !ok {
			return err
		}
		gone.Attempts = attempts
		wait := time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64()))
		pause = min(2*pause, maxPause)
		if gone.After > 0 {
			wait = gone.After
		}
		if ctx.Err() != nil || !time.Now().Add(wait).Before(end) {
			return gone
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return gone
		}
	}
}

// after reads Retry-After (RFC 9110, 10.2.3), where a date is compared with the server's own.
func after(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	d := time.Duration(0)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		if now, err := http.ParseTime(h.Get("Date")); err == nil {
			d = at.Sub(now)
		}
	}
	return min(max(d, 0), maxAfter)
}
