package page

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ember-os/ember/os/stage"
)

// timeline is a boot, drawn: for each stage a line from when the one before was reached to when it was.
type timeline struct {
	ID     string
	Steps  []step // all
	Rows   []step // those that are drawn
	Ticks  []tick
	Height int
	Total  time.Duration
	Ready  bool // the boot's own steps are over
}

// step is a stage; X and W are percents of the width.
type step struct {
	Name, Detail string
	At, Took     time.Duration
	X, W         float64
	Y, LineY     int
	Long         bool // one of those that took longest
	Bad          bool
}

type tick struct {
	X     float64
	Label string
}

const (
	stepHeight = 42
	axisHeight = 26
	kernel     = "kernel"
	maxName    = 24
	// maxDetail is how much of a stage's fields is shown, in characters.
	maxDetail = 80
)

// newTimeline draws the lines that are stages; nil if there is none.
func newTimeline(id string, lines []string) *timeline {
	var all []stage.Line
	for _, line := range lines {
		if l, ok := stage.Parse(line); ok {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b stage.Line) int { return int(a.T - b.T) })
	t := &timeline{ID: id, Total: all[len(all)-1].T}
	scale := 100 / max(t.Total.Seconds(), 0.001)
	before := time.Duration(0)
	for i, l := range all {
		s := step{Name: l.Name, Detail: detail(l), At: l.T, Took: l.T - before, Bad: l.Name == stage.Failed || l.Name == stage.Panic}
		if phase := l.Get("phase"); phase != "" {
			s.Name += ": " + clip(phase, maxName)
		}
		if i == 0 {
			s.Name, s.Detail = kernel, "to the first line of init"
			if l.Name != stage.Start {
				s.Name, s.Detail = l.Name, detail(l)
			}
		}
		t.Ready = t.Ready || l.Name == stage.Ready
		before = l.T
		t.Steps = append(t.Steps, s)
	}
	t.markLongest()
	t.Rows = fold(t.Steps, t.Total)
	for i := range t.Rows {
		s := &t.Rows[i]
		s.W = max(s.Took.Seconds()*scale, 0.4)
		s.X = min((s.At-s.Took).Seconds()*scale, 100-s.W)
		s.Y = axisHeight + i*stepHeight + 16
		s.LineY = s.Y + 8
	}
	t.Height = axisHeight + len(t.Rows)*stepHeight
	t.ticks(scale)
	return t
}

// fold makes one row of three or more steps in a row that are too short to be told apart.
func fold(steps []step, total time.Duration) (rows []step) {
	short := func(s step) bool { return s.Took < total/50 && !s.Bad }
	for i := 0; i < len(steps); {
		n := i
		for n < len(steps) && short(steps[n]) {
			n++
		}
		if n-i < 3 {
			rows = append(rows, steps[i])
			i++
			continue
		}
		first, last := steps[i], steps[n-1]
		rows = append(rows, step{Name: fmt.Sprintf("%s to %s, %d stages", first.Name, last.Name, n-i), At: last.At, Took: last.At - first.At + first.Took})
		i = n
	}
	return rows
}

// markLongest marks the steps that together are most of the time, three at most.
func (t *timeline) markLongest() {
	order := make([]int, len(t.Steps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(t.Steps[b].Took - t.Steps[a].Took) })
	for _, i := range order[:min(3, len(order))] {
		t.Steps[i].Long = t.Steps[i].Took > t.Total/10
	}
}

// ticks are at round times, four to eight of them.
func (t *timeline) ticks(scale float64) {
	total := t.Total.Seconds()
	if total <= 0 {
		return
	}
	unit := math.Pow(10, math.Floor(math.Log10(total/5)))
	for _, m := range []float64{1, 2, 5, 10} {
		if total/(unit*m) <= 6 {
			unit *= m
			break
		}
	}
	for i := 0; float64(i)*unit <= total*1.0001; i++ {
		at := float64(i) * unit
		t.Ticks = append(t.Ticks, tick{min(at*scale, 100), strings.TrimSuffix(fmt.Sprintf("%.3g", at), ".0") + " s"})
	}
}

// detail is what a stage says besides its name.
func detail(l stage.Line) string {
	var parts []string
	for _, f := range l.Fields {
		value := f.Value
		if len(value) == 64 { // a digest
			value = short(value) + "…"
		}
		parts = append(parts, f.Key+" "+value)
	}
	return clip(strings.Join(parts, ", "), maxDetail)
}

func clip(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
