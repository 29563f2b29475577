package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const (
	tailLines = 40       // how much of the console an error shows
	maxLine   = 64 << 10 // bytes after which a line is ended by force
)

// escapes are the control sequences of ECMA-48 that firmware and shells write:
// CSI, OSC, and the short ones.
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[ -/]*[0-Z^-~])")

// console collects a machine's output as lines.
type console struct {
	copies io.Writer

	mu      sync.Mutex
	partial []byte
	lines   []string
	next    int           // the first line that no WaitLine has seen
	ended   error         // why there will be no more, or nil
	changed chan struct{} // closed when any of these changes
}

// newConsole makes a console that copies its output to those copies that are not nil.
func newConsole(copies ...io.Writer) *console {
	copies = slices.DeleteFunc(copies, func(w io.Writer) bool { return w == nil })
	return &console{copies: io.MultiWriter(copies...), changed: make(chan struct{})}
}

// Write takes output as it comes. CR and LF, alone or together, end a line;
// empty lines are dropped.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	for _, b := range p {
		if b == '\n' || b == '\r' {
			c.endLine()
			continue
		}
		c.partial = append(c.partial, b)
		if len(c.partial) == maxLine {
			c.endLine()
		}
	}
	c.notify()
	c.mu.Unlock()
	return c.copies.Write(p)
}

// end says that nothing more will come, and why.
func (c *console) end(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLine()
	c.ended = reason
	c.notify()
}

func (c *console) endLine() {
	line := Plain(c.partial)
	c.partial = c.partial[:0]
	if line != "" {
		c.lines = append(c.lines, line)
	}
}

func (c *console) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Plain is a console's line without control sequences and bytes, and without white space at its ends.
func Plain(b []byte) string {
	b = escapes.ReplaceAll(b, nil)
	b = bytes.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, b)
	return strings.TrimSpace(string(b))
}

// wait returns the first line not yet seen that matches. All output there is
// was looked at before it fails, because ctx or the output ended.
func (c *console) wait(ctx context.Context, match func(line string) bool) (string, error) {
	for last := false; ; {
		c.mu.Lock()
		lines, ended, changed := c.lines[c.next:], c.ended, c.changed
		c.mu.Unlock()
		for i, line := range lines {
			if match(line) {
				c.skip(i + 1)
				return line, nil
			}
		}
		c.skip(len(lines))
		switch {
		case ended != nil:
			return "", c.failure(ended)
		case last:
			return "", c.failure(context.Cause(ctx))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			last = true
		}
	}
}

func (c *console) skip(n int) {
	c.mu.Lock()
	c.next += n
	c.mu.Unlock()
}

func (c *console) failure(err error) error {
	return fmt.Errorf("waiting for a console line: %w\n%s", err, c.tail())
}

// tail returns the last lines, with the one that is not complete.
func (c *console) tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := c.lines[max(0, len(c.lines)-tailLines):]
	if p := Plain(c.partial); p != "" {
		lines = append(lines[:len(lines):len(lines)], p)
	}
	if len(lines) == 0 {
		return "The console is empty."
	}
	return "The console's last lines:\n    " + strings.Join(lines, "\n    ")
}
