package status

import (
	"fmt"
	"strings"
	"time"
)

const (
	width  = 73 // of a line: 80 columns less "ember: ", which consoles put in front
	indent = 10 // of what is behind the labels
)

// block is the report for people: rows with a label, in ASCII, because serial
// consoles know nothing else.
type block []string

// row adds what is not empty of the items, over as many lines as that takes.
func (b *block) row(label string, items ...string) {
	var shown []string
	for _, item := range items {
		if words := strings.Fields(ascii(item)); len(words) > 0 {
			shown = append(shown, strings.Join(words, " "))
		}
	}
	if shown == nil {
		return
	}
	l := lines{block: b, line: fmt.Sprintf("%-*s", indent, label)}
	for i, item := range shown {
		if i < len(shown)-1 {
			item += ","
		}
		if len(item) <= width-indent { // it stays in one piece
			l.add(item)
			continue
		}
		for word := range strings.SplitSeq(item, " ") {
			l.add(word)
		}
	}
	*b = append(*b, l.line)
}

// lines are those of one row while they are made.
type lines struct {
	block  *block
	line   string
	filled bool // line has more than a label
}

// add adds a piece behind a space, or on a new line if it does not fit. A piece
// that is longer than a line is broken.
func (l *lines) add(piece string) {
	if l.filled && len(l.line)+len(" ")+len(piece) > width {
		l.end()
	}
	if l.filled {
		l.line += " "
	}
	for len(l.line)+len(piece) > width {
		room := width - len(l.line)
		l.line += piece[:room]
		piece = piece[room:]
		l.end()
	}
	l.line += piece
	l.filled = true
}

func (l *lines) end() {
	*l.block = append(*l.block, l.line)
	l.line, l.filled = strings.Repeat(" ", indent), false
}

func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
}

// prefixed is "" if s is.
func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// size writes bytes in units of a base, 1000 or 1024.
func size(bytes, base uint64, units ...string) string {
	value, unit := float64(bytes), 0
	for value >= float64(base) && unit < len(units)-1 {
		value /= float64(base)
		unit++
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + " " + units[unit]
}

// diskSize is in the units that makers of disks use, memorySize in those of makers
// of memory.
func diskSize(bytes uint64) string { return size(bytes, 1000, "B", "kB", "MB", "GB", "TB", "PB") }
func memorySize(bytes uint64) string {
	return size(bytes, 1024, "B", "KiB", "MiB", "GiB", "TiB", "PiB")
}

// count is a number of things that have a plural with "s".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprint(n, " ", thing, "s")
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
