package output

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// earlyLimit is how many bytes are kept for a FIFO that is not there yet.
const earlyLimit = 256 << 10

// maxLine is what a pipe takes whole or not at all (PIPE_BUF), see pipe(7).
const maxLine = 4096

// Early is the log of PID 1: lines that are kept until Open has made the FIFO for
// them, and written to it from then on. It never waits. Lines for which there is
// no room are counted, and the count is logged once there is room again.
//
// The zero value is ready for Write.
type Early struct {
	mu   sync.Mutex
	open bool
	fd   int
	kept []byte // while not open
	lost int
}

// Write takes whole lines. Lines longer than 4 KiB are cut. It never fails.
func (e *Early) Write(lines []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for line := range bytes.Lines(lines) {
		if len(line) > maxLine || line[len(line)-1] != '\n' {
			line = append(slices.Clone(line[:min(len(line), maxLine-1)]), '\n')
		}
		switch {
		case e.open:
			e.send(line)
		case len(e.kept)+len(line) <= earlyLimit:
			e.kept = append(e.kept, line...)
		default:
			e.lost++
		}
	}
	return len(lines), nil
}

// Open makes the FIFO Init in dir and sends to it what was written so far.
func (e *Early) Open(dir string) error {
	path := filepath.Join(dir, Init)
	if err := hold(path); err != nil {
		return fmt.Errorf("making init's way to the log: %w", err)
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening init's way to the log: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open, e.fd = true, fd
	lost := e.lost // they were the last ones
	e.lost = 0
	for line := range bytes.Lines(e.kept) {
		e.send(line)
	}
	e.lost += lost
	e.kept = nil
	return nil
}

// send writes a line, and before it how many had to be left out; mu is held.
func (e *Early) send(line []byte) {
	if e.lost > 0 {
		if !e.write(fmt.Appendf(nil, "<4>%d lines were lost\n", e.lost)) {
			e.lost++
			return
		}
		e.lost = 0
	}
	if !e.write(line) {
		e.lost++
	}
}

func (e *Early) write(line []byte) bool {
	for {
		n, err := unix.Write(e.fd, line)
		if err != unix.EINTR {
			return n == len(line)
		}
	}
}
