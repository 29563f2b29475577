// Package stage is how a boot tells how far it is: one console line per stage,
//
//	ember: stage=<name> t=<seconds since kernel start> key=value ...
//
// People read these lines, tests wait for them and boot timelines are drawn from
// them. A value that is empty or holds anything but plain visible ASCII is quoted
// as in Go, so a line is always one line and Parse gives back what Format got.
package stage

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The stages of a boot, in the order of init's steps.
const (
	Start    = "start"    // init runs
	Devices  = "devices"  // /proc, /sys and /dev are there
	Cmdline  = "cmdline"  // the kernel command line is read
	Console  = "console"  // every console shows what follows, and what came before
	Tree     = "tree"     // the initrd was found complete
	Root     = "root"     // the root is a mount that containers can pivot from
	Packed   = "packed"   // the large files of the initrd can be read
	Mounts   = "mounts"   // all kernel filesystems are mounted
	Power    = "power"    // the power buttons are heard
	Watchdog = "watchdog" // the hardware watchdog, if there is one, is armed
	Debug    = "debug"    // what ember.debug asks for is done
	Clock    = "clock"    // the time is not earlier than the build
	Services = "services" // the unit files are read, and services start
	Ready    = "ready"    // init's own steps are over
)

// The stages that services reach, whenever that is.
const (
	Network = "network" // the network is up, or nobody waits for it any longer
	Time    = "time"    // the clock is right, or nobody waits for that any longer
	Attest  = "attest"  // the machine is attested and has its overlay, or has no TPM to attest with
	Agent   = "agent"   // Tinkerbell's agent runs
)

// Boot is how far ember.lkg=on has led the machine, again and again: docs/last-known-good.md.
const Boot = "boot"

// Message is what a message of ember-boot.service to init, as of sd_notify(3), calls the fields of Boot.
const Message = "X_EMBER_STAGE"

// The stages at which a boot ends.
const (
	Failed   = "failed"   // bring-up failed; says what, and what happens next
	Panic    = "panic"    // init has a bug; says where, and what happens next
	Stopping = "stopping" // the machine is being stopped; says why
	Stopped  = "stopped"  // the last line before reboot(2)
)

const prefix = "ember: stage="

// Field is one key=value of a line. A key is made of a-z, 0-9 and "_".
type Field struct{ Key, Value string }

// Line is one stage line.
type Line struct {
	Name   string        // a constant of this package
	T      time.Duration // since kernel start, in milliseconds
	Fields []Field
}

// Print writes the line of a stage that is reached now, in one Write.
func Print(w io.Writer, name string, fields ...Field) error {
	_, err := io.WriteString(w, Line{name, Now(), fields}.String()+"\n")
	return err
}

// Now is the time since kernel start.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // every kernel since 2.6.39 has this clock
	}
	return time.Duration(ts.Nano())
}

// String gives the line without a line end.
func (l Line) String() string {
	s := fmt.Sprintf("%s%s t=%d.%03d", prefix, l.Name, l.T/time.Second, l.T%time.Second/time.Millisecond)
	if len(l.Fields) > 0 {
		s += " " + FormatFields(l.Fields...)
	}
	return s
}

// FormatFields gives fields as they are in a line, which is also how a service
// tells init those of its stage.
func FormatFields(fields ...Field) string {
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(f.Key + "=" + quote(f.Value))
	}
	return b.String()
}

// ParseFields gives back what FormatFields got.
func ParseFields(s string) (fields []Field, ok bool) {
	for more := s != ""; more; {
		var f Field
		if f, s, more, ok = nextField(s); !ok {
			return nil, false
		}
		fields = append(fields, f)
	}
	return fields, true
}

// Parse finds the stage line in a line of console output, behind whatever the
// kernel or a terminal left in front of it.
func Parse(line string) (Line, bool) {
	_, rest, found := strings.Cut(line, prefix)
	if !found {
		return Line{}, false
	}
	name, rest, _ := strings.Cut(strings.TrimRight(rest, "\r\n"), " ")
	rest, found = strings.CutPrefix(rest, "t=")
	t, rest, more := strings.Cut(rest, " ")
	l := Line{Name: name}
	if !found || !isKey(name) || !l.setTime(t) || more && rest == "" {
		return Line{}, false
	}
	l.Fields, found = ParseFields(rest)
	return l, found
}

// Get gives the value of a field, "" if there is none.
func (l Line) Get(key string) string {
	for _, f := range l.Fields {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}

func (l *Line) setTime(s string) bool {
	seconds, millis, _ := strings.Cut(s, ".")
	sec, err1 := strconv.ParseUint(seconds, 10, 32)
	ms, err2 := strconv.ParseUint(millis, 10, 16)
	l.T = time.Duration(sec)*time.Second + time.Duration(ms)*time.Millisecond
	return err1 == nil && err2 == nil && len(millis) == 3
}

// nextField takes a field and the space behind it off s.
func nextField(s string) (f Field, rest string, more, ok bool) {
	key, s, found := strings.Cut(s, "=")
	if !found || !isKey(key) {
		return Field{}, "", false, false
	}
	if !strings.HasPrefix(s, `"`) {
		value, rest, more := strings.Cut(s, " ")
		return Field{key, value}, rest, more, isPlain(value)
	}
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		return Field{}, "", false, false
	}
	value, err := strconv.Unquote(quoted)
	rest, more = strings.CutPrefix(s[len(quoted):], " ")
	return Field{key, value}, rest, more, err == nil && (more || rest == "")
}

func quote(s string) string {
	if isPlain(s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// isPlain tells whether s needs no quotes.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

func isKey(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != ""
}
