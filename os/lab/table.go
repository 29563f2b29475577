package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/ember-os/ember/os/lab/cast"
)

// tableOf is the table of the steps that have happened.
func tableOf(steps []took) string {
	var b strings.Builder
	row := func(number, name, time, seen string) {
		fmt.Fprintf(&b, "%3s  %-22s %9s   %s\n", number, name, time, seen)
	}
	b.WriteString(cast.Bold)
	row("", "step", "time", "what was seen")
	b.WriteString(cast.Plain)
	var all time.Duration
	for i, s := range steps {
		row(fmt.Sprint(i+1), s.name, seconds(s.time), s.seen)
		all += s.time
	}
	row("", "all of it", seconds(all), "")
	return b.String()
}
