package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ember-os/ember/os/lab/cast"
)

// seenColumn is where the table's last column begins.
const seenColumn = 38

// tableOf is the table of the steps that have happened.
func tableOf(steps []took) string {
	var b strings.Builder
	row := func(number, name, time, seen string) {
		fmt.Fprintf(&b, "%3s  %-21s %9s  %s\n", number, name, time, seen)
	}
	b.WriteString(cast.Bold)
	row("", "step", "time", "what was seen")
	b.WriteString(cast.Plain)
	var all time.Duration
	for i, s := range steps {
		lines := wrap(s.seen, width-seenColumn)
		row(fmt.Sprint(i+1), s.name, seconds(s.time), lines[0])
		for _, line := range lines[1:] {
			row("", "", "", line)
		}
		all += s.time
	}
	row("", "all of it", seconds(all), "")
	return b.String()
}

// wrap breaks text between words, into lines of at most so many characters. A word that is longer has its own.
func wrap(text string, most int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		switch last := &lines[len(lines)-1]; {
		case *last == "":
			*last = word
		case utf8.RuneCountInString(*last+" "+word) <= most:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}
