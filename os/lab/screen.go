package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/ember-os/ember/os/lab/cast"
)

const (
	width  = 110 // what is longer is cut, unless it is asked for
	whoLen = 10
)

// screen is what people see: headings, and lines that say when, who and what. Any goroutine may write.
type screen struct {
	start time.Time

	mu     sync.Mutex
	out    io.Writer
	looks  bool // out understands them
	record *cast.Writer
}

func newScreen(out io.Writer, looks bool) *screen {
	return &screen{start: time.Now(), out: out, looks: looks}
}

// recordTo has all that follows recorded as well.
func (s *screen) recordTo(w io.Writer) (err error) {
	s.record, err = cast.NewWriter(w, "bazel run //os:lab", width, s.start)
	return err
}

// since is the time since the lab began.
func (s *screen) since() time.Duration { return time.Since(s.start) }

// print writes lines as they are.
func (s *screen) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.record != nil {
		s.record.Write([]byte(text)) // what can not be recorded is not worth the lab's end
	}
	if !s.looks {
		text = strings.NewReplacer(cast.Bold, "", cast.Faint, "", cast.Green, "", cast.Plain, "").Replace(text)
	}
	io.WriteString(s.out, text)
}

// heading begins a step.
func (s *screen) heading(n int, text string) {
	s.print(fmt.Sprintf("\n%s%2d  %s%s\n", cast.Bold, n, text, cast.Plain))
}

// say says what somebody did.
func (s *screen) say(who, format string, args ...any) {
	s.speak("", who, fmt.Sprintf(format, args...))
}

// saw says what was seen of a step.
func (s *screen) saw(text string) { s.speak(cast.Green, "seen", text) }

func (s *screen) speak(look, who, text string) {
	runes := []rune(text)
	if most := width - whoLen - 14; len(runes) > most {
		runes = append(runes[:most-1], '…')
	}
	s.print(fmt.Sprintf("%s%8s%s  %s%-*s  %s%s\n", cast.Faint, seconds(s.since()), cast.Plain, look, whoLen, who, string(runes), cast.Plain))
}

// seconds is a time as people read it here.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// megabytes likewise.
func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
