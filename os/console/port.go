package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Port is one console.
type Port struct {
	Name string // of its device, such as ttyS0

	path     string // "" if it cannot be opened again
	file     *os.File
	queue    chan item
	patience time.Duration // how long one line may take
	lost     atomic.Int64  // pieces of output that did not get through, not yet reported
}

// item is text to write, or the request to close flushed when all text before it
// is out.
type item struct {
	text    []byte
	flushed chan struct{}
}

const (
	queueLength = 1024
	patience    = 2 * time.Second // for one line; at 9,600 baud 80 characters take 0.1 s
)

func newPort(name, path string, file *os.File) *Port {
	return &Port{Name: name, path: path, file: file, queue: make(chan item, queueLength), patience: patience}
}

func openPort(name, path string, terminal bool) (*Port, error) {
	// Opened for non-blocking use, a port without a carrier does not wait for one,
	// and writing heeds deadlines.
	file, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening console: %w", err)
	}
	p := newPort(name, path, file)
	if terminal && p.control(isTerminal) != nil {
		file.Close()
		return nil, fmt.Errorf("opening console: %s is no working terminal", path)
	}
	return p, nil
}

// control does what f does to the device, which stays as non-blocking as it is.
func (p *Port) control(f func(fd int) error) error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = f(int(fd)) })
	return errors.Join(err, failed)
}

// enqueue does not wait: a port that is a full queue behind is dead.
func (p *Port) enqueue(i item) bool {
	select {
	case p.queue <- i:
		return true
	default:
		p.lost.Add(1)
		return false
	}
}

// Run writes what is queued until ctx ends.
func (p *Port) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case i := <-p.queue:
			if i.flushed != nil {
				p.drain()
				close(i.flushed)
				continue
			}
			p.print(i.text)
		}
	}
}

// print writes text by lines, so that patience is for one line.
func (p *Port) print(text []byte) {
	for line := range bytes.Lines(text) {
		if p.write(line) != nil {
			p.lost.Add(1)
		} else if n := p.lost.Swap(0); n > 0 {
			p.write(fmt.Appendf(nil, "ember: console %s: output was lost %d times up to here\n", p.Name, n))
		}
	}
}

// write writes with a deadline. A terminal is hung up when a session on it ends,
// and must then be opened again.
func (p *Port) write(line []byte) error {
	p.file.SetWriteDeadline(time.Now().Add(p.patience)) // standard error knows no deadline
	_, err := p.file.Write(line)
	if err == nil || p.path == "" || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	again, err := openPort(p.Name, p.path, false)
	if err != nil {
		return err
	}
	p.file.Close()
	p.file = again.file
	p.file.SetWriteDeadline(time.Now().Add(p.patience))
	_, err = p.file.Write(line)
	return err
}

// drain waits until the hardware has sent everything.
func (p *Port) drain() {
	p.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCSBRK, 1) })
}

func lastResort(dir string) *Port {
	for _, name := range []string{"console", "kmsg"} {
		if p, err := openPort(name, filepath.Join(dir, name), false); err == nil {
			return p
		}
	}
	return newPort("stderr", "", os.Stderr)
}
