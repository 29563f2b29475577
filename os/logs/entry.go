// Package logs is the machine's log as it is kept in memory: a directory with two
// files for each unit, NAME with its newest lines and NAME.1 with those before.
// The log daemon writes it, "ember log" reads it.
//
// A line of a file is "[BOOTTIME] <N>TEXT": the seconds since kernel start, with
// six digits behind the point, the severity of RFC 5424, and text without control
// characters. Wall clock time is computed when a line is shown, so that what was
// logged before the clock was set reads right.
package logs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ember-os/ember/os/logline"
)

// Dir is where the log is.
const Dir = "/run/ember/log"

// Names of what is in the log but is no unit.
const (
	Kernel = "kernel"
	Init   = "init"
)

// Entry is one line of the log.
type Entry struct {
	Unit string        // with its suffix, or Kernel or Init
	Boot time.Duration // since kernel start, in microseconds
	logline.Line
}

// Short is the unit's name without ".service".
func (e Entry) Short() string { return strings.TrimSuffix(e.Unit, ".service") }

// format is the line in a file, with its end.
func (e Entry) format() string {
	return fmt.Sprintf("[%d.%06d] %v\n", e.Boot/time.Second, e.Boot%time.Second/time.Microsecond, e.Line)
}

// parse reads a line without its end into all but Unit.
func parse(line string) (Entry, bool) {
	rest, found := strings.CutPrefix(line, "[")
	clock, text, found2 := strings.Cut(rest, "] ")
	boot, ok := parseBoot(clock)
	l := logline.Parse(text)
	// Text that has no severity of its own would be written back with one.
	if !found || !found2 || !ok || l.Text == text || !utf8.ValidString(l.Text) {
		return Entry{}, false
	}
	return Entry{Boot: boot, Line: l}, true
}

func parseBoot(clock string) (time.Duration, bool) {
	seconds, micros, _ := strings.Cut(clock, ".")
	s, err := strconv.ParseUint(seconds, 10, 32)
	us, err2 := strconv.ParseUint(micros, 10, 32)
	boot := time.Duration(s)*time.Second + time.Duration(us)*time.Microsecond
	ok := err == nil && err2 == nil && len(micros) == 6 && (seconds == "0" || seconds[0] != '0')
	return boot, ok && s < math.MaxInt64/uint64(time.Second)
}
