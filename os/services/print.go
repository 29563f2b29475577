package services

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ember-os/ember/os/service"
)

// line is a unit at its place in the tree.
type line struct {
	unit
	depth int
}

func list(units []unit) []line {
	lines := make([]line, len(units))
	for i, u := range units {
		lines[i].unit = u
	}
	return lines
}

// tree has each unit once, below the first that starts it; at the top those that no
// other one starts.
func tree(units []unit) []line {
	byName := map[string]unit{}
	started := map[string]bool{}
	for _, u := range units {
		byName[u.Name] = u
		for _, name := range u.Units {
			started[name] = true
		}
	}
	var lines []line
	seen := map[string]bool{}
	var add func(name string, depth int)
	add = func(name string, depth int) {
		u, known := byName[name]
		if !known || seen[name] {
			return
		}
		seen[name] = true
		lines = append(lines, line{u, depth})
		for _, below := range u.Units {
			add(below, depth+1)
		}
	}
	for _, u := range units {
		if !started[u.Name] {
			add(u.Name, 0)
		}
	}
	for _, u := range units { // what only starts each other
		add(u.Name, 0)
	}
	return lines
}

type printer struct {
	now     time.Duration // since kernel start
	colours bool
}

const indent = "  "

// print writes one line for each unit, and below it what is to be said of it.
func (p printer) print(w io.Writer, lines []line) error {
	width := 0
	for _, l := range lines {
		width = max(width, len(indent)*l.depth+len(l.Name))
	}
	var b bytes.Buffer
	for _, l := range lines {
		margin := strings.Repeat(indent, l.depth)
		state := p.colour(l.State, fmt.Sprintf("%-10s", l.State))
		row := fmt.Sprintf("%-*s  %s  %6s  %s", width, margin+l.Name, state, age(p.now-l.Since), strings.Join(l.facts(), ", "))
		b.WriteString(strings.TrimRight(row, " ") + "\n")
		for _, note := range l.notes() {
			b.WriteString(margin + indent + indent + note + "\n")
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (u unit) facts() []string {
	var facts []string
	if u.PID != 0 {
		facts = append(facts, fmt.Sprintf("pid %d", u.PID))
	}
	if u.Memory != 0 {
		facts = append(facts, fmt.Sprintf("%.1f MiB", float64(u.Memory)/(1<<20)))
	}
	if u.Tasks != 0 {
		facts = append(facts, count(u.Tasks, "task"))
	}
	if u.Restarts != 0 {
		facts = append(facts, count(uint64(u.Restarts), "restart"))
	}
	if u.LastExit != "" {
		facts = append(facts, "last ended with "+u.LastExit)
	}
	return facts
}

func (u unit) notes() []string {
	var notes []string
	if u.Reason != "" {
		notes = append(notes, u.Reason)
	}
	if u.Text != "" {
		notes = append(notes, "says: "+u.Text)
	}
	for _, problem := range u.Problems {
		notes = append(notes, "problem: "+problem)
	}
	return notes
}

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// age has two units at most: "2h5m".
func age(d time.Duration) string {
	switch d = d.Truncate(time.Second); {
	case d < time.Hour:
		return d.String()
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// The colours are those of ECMA-48's SGR.
var colours = map[service.State]string{
	service.Active: "32", service.Exited: "32", service.Failed: "31", service.Restarting: "31",
	service.Starting: "33", service.Stopping: "33",
}

func (p printer) colour(s service.State, text string) string {
	if c := colours[s]; p.colours && c != "" {
		return "\x1b[" + c + "m" + text + "\x1b[m"
	}
	return text
}
