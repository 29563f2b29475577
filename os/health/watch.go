package health

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/ember-os/ember/os/jsonfile"
	"github.com/ember-os/ember/os/stage"
)

// The time between two looks: at first, and of a node that has been healthy for steady.
const (
	often  = 5 * time.Second
	seldom = 30 * time.Second
	steady = 2 * time.Minute
)

// Watch looks until ctx ends, every few seconds while the node is not healthy or has not been so for long, and less
// often after that. It calls changed, never twice at once, with the first report and with each in which something but
// Since is different, after it has written it to Path.
func Watch(ctx context.Context, o Options, changed func(Report)) { newLooker(o).watch(ctx, changed) }

func (l *looker) watch(ctx context.Context, changed func(Report)) {
	var h history
	for {
		r := l.look(ctx)
		if ctx.Err() != nil { // it may have spoilt the look
			return
		}
		r, news := h.add(r, stage.Now())
		for _, line := range h.lines {
			l.Log.Log(ctx, line.level, line.text)
		}
		if news {
			if err := jsonfile.Write(l.paths.report, r, 0o644); err != nil {
				l.Log.Warn("nobody can see how healthy the node is", "err", err)
			}
			changed(r)
		}
		select {
		case <-time.After(h.pause(stage.Now())):
		case <-ctx.Done():
			return
		}
	}
}

// history is what the looks before have found.
type history struct {
	last   Report
	failed map[string][]time.Duration // when each check became unhealthy, within FlapTime
	told   map[string]string          // what each command had printed when that was logged last
	lines  []line                     // to log now: of checks that have changed, or fail in another way
}

type line struct {
	level slog.Level
	text  string
}

// add gives a report what has to be known of those before, and tells whether there is anything new in it.
func (h *history) add(r Report, now time.Duration) (Report, bool) {
	first := h.failed == nil
	if first {
		h.failed, h.told = map[string][]time.Duration{}, map[string]string{}
	}
	before := map[string]Check{}
	for _, c := range h.last.Checks {
		before[c.Name] = c
	}
	h.lines = nil
	for i := range r.Checks {
		c, was := &r.Checks[i], before[r.Checks[i].Name]
		if was.Healthy && !c.Healthy {
			h.failed[c.Name] = append(h.failed[c.Name], now)
		}
		h.failed[c.Name] = slices.DeleteFunc(h.failed[c.Name], func(t time.Duration) bool { return now-t > FlapTime })
		c.Failed = len(h.failed[c.Name])
		changed := was.Name == "" || was.Healthy != c.Healthy
		if changed || !c.Healthy && c.output != h.told[c.Name] {
			h.told[c.Name] = c.output
			for text := range strings.Lines(c.output) {
				h.lines = append(h.lines, line{slog.LevelInfo, c.Name + ": " + shown(text)})
			}
		}
		switch {
		case !c.Healthy && (changed || was.Reason != c.Reason):
			h.lines = append(h.lines, line{slog.LevelWarn, c.String()})
		case changed:
			h.lines = append(h.lines, line{slog.LevelInfo, c.String()})
		}
	}
	r.Since = h.last.Since
	if first || r.Healthy != h.last.Healthy {
		r.Since = now
	}
	news := first || !slices.Equal(r.Checks, h.last.Checks)
	h.last = r
	return r, news
}

// pause is the time until the next look.
func (h *history) pause(now time.Duration) time.Duration {
	if h.last.Healthy && now-h.last.Since >= steady {
		return seldom
	}
	return often
}
