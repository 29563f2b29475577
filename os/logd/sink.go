package logd

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/logs"
	"github.com/ember-os/ember/os/syslog"
	"golang.org/x/sys/unix"
)

// sink is where all lines go.
type sink struct {
	secrets redactor
	store   *logs.Store
	sender  *syslog.Sender // nil if there is no collector
	console *consoles
	log     *slog.Logger

	mu       sync.Mutex
	unstored map[string]int // lines by unit, not reported yet
}

// add takes a line whose text may be anything.
func (s *sink) add(unit string, boot time.Duration, severity logline.Severity, text []byte, toConsole bool) {
	cleaned := s.secrets.redact(clean(text))
	if cleaned == "" {
		return
	}
	e := logs.Entry{Unit: unit, Boot: boot, Line: logline.Line{Severity: severity, Text: cleaned}}
	s.keep(e)
	if s.sender != nil {
		s.sender.Send(message(e))
	}
	if toConsole {
		s.console.print(e)
	}
}

// keep stores an entry. Without room, it counts those that are missing, which is
// stored once there is room again.
func (s *sink) keep(e logs.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := s.unstored[e.Unit]
	var err error
	if missing > 0 {
		err = s.store.Append(logs.Entry{Unit: e.Unit, Boot: e.Boot, Line: logline.Line{
			Severity: logline.Warning, Text: fmt.Sprintf("lines missing here: %d, for which there was no room", missing)}})
	}
	if err == nil {
		delete(s.unstored, e.Unit)
		err = s.store.Append(e)
	}
	if err == nil {
		return
	}
	s.unstored[e.Unit] = missing + 1
	if missing == 0 {
		s.log.Error("the log has gaps from now on", "err", err)
	}
}

// message is an entry for the collector.
func message(e logs.Entry) syslog.Message {
	m := syslog.Message{Facility: syslog.Daemon, Boot: e.Boot, App: e.Short(), Line: e.Line}
	switch e.Unit {
	case logs.Kernel:
		m.Facility = syslog.Kernel
	case logs.Init:
		m.App = "ember"
	}
	return m
}

// consoles is the way to all consoles, through PID 1. What that does not take at
// once is left out and counted, which the next line that it takes tells.
type consoles struct {
	path  string // of the FIFO
	level slog.Level

	mu   sync.Mutex
	open bool
	fd   int
	left int // lines left out, not told yet
}

// consoleLine is the bytes of a line that the console shows.
const consoleLine = 1 << 10

// print prints an entry that is severe enough.
func (c *consoles) print(e logs.Entry) {
	if e.Severity.Level() < c.level {
		return
	}
	line := strings.TrimPrefix(e.Short(), "ember-") + ": " + e.Human()
	line = line[:min(len(line), consoleLine-1)] + "\n"
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left > 0 {
		line = fmt.Sprintf("%d lines left out\n", c.left) + line
	}
	c.left++
	if c.write(line) {
		c.left = 0
	}
}

// write writes all of a text, which is no longer than PIPE_BUF, or nothing; mu is held.
func (c *consoles) write(text string) bool {
	if !c.open {
		fd, err := unix.Open(c.path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return false // PID 1 is not there to read
		}
		c.open, c.fd = true, fd
	}
	_, err := unix.Write(c.fd, []byte(text))
	if err != nil && err != unix.EAGAIN {
		unix.Close(c.fd)
		c.open = false
	}
	return err == nil
}
