package tinktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Event is what Tinkerbell's server says of what happens; its documentation is
// that of the program.
type Event struct {
	Event      string          `json:"event"`
	Address    string          `json:"address"`
	Agent      string          `json:"agent"`
	Method     string          `json:"method"`
	Attributes json.RawMessage `json:"attributes"`
	Action     string          `json:"action"`
	Name       string          `json:"name"`
	State      string          `json:"state"`
	Message    string          `json:"message"`
}

// Process is the program tinkserver.
type Process struct {
	network  Network
	address  string
	program  string
	args     []string
	state    string // the file that keeps where the workflow is
	workflow []byte

	cmd  *exec.Cmd     // nil while it is stopped
	read chan struct{} // closed when all its events have been read

	mu     sync.Mutex
	events []Event
	seen   int           // how many Wait has looked at
	news   chan struct{} // closed, and made anew, with each event
	stderr bytes.Buffer
}

// newProcess describes a server that keeps where its workflow is in dir.
func newProcess(network Network, address, program, dir string, tls bool, w document) (*Process, error) {
	p := &Process{network: network, address: address, program: program, news: make(chan struct{})}
	p.state = filepath.Join(dir, "workflow.state")
	p.args = []string{"-listen-fd", "3", "-state", p.state}
	if err := p.give(w); err != nil {
		return nil, err
	}
	if tls {
		cert, key := network.Certificate()
		p.args = append(p.args, "-tls-cert", cert, "-tls-key", key)
	}
	return p, nil
}

// Start starts the server, or starts it again where it was, and returns when it listens.
func (p *Process) Start(ctx context.Context) error {
	if err := p.start(ctx); err != nil {
		return fmt.Errorf("starting Tinkerbell's server: %w", err)
	}
	_, err := p.Wait(ctx, "that the server listens", func(e Event) bool { return e.Event == "listening" })
	return err
}

func (p *Process) start(ctx context.Context) error {
	listener, err := p.network.Listen("tcp", p.address)
	if err != nil {
		return err
	}
	defer listener.Close() // or connections would be accepted while the server is stopped
	p.address = listener.Addr().String()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer socket.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.program, p.args...)
	cmd.ExtraFiles = []*os.File{socket}
	// Ctrl-C is for who runs it, who may still need it, and it ends with that.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	cmd.Stdin = bytes.NewReader(p.workflow)
	cmd.Stderr = lockedWriter{p}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.read = cmd, make(chan struct{})
	go func() {
		defer close(p.read)
		for d := json.NewDecoder(out); ; {
			var e Event
			if d.Decode(&e) != nil {
				return
			}
			p.add(e)
		}
	}()
	return nil
}

// Stop ends the server and its connections; from then on they are refused.
func (p *Process) Stop() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Signal(unix.SIGTERM)
	<-p.read
	p.cmd.Wait()
	p.cmd = nil
}

// give stops the server, which will have another workflow.
func (p *Process) give(w document) (err error) {
	p.Stop()
	if p.workflow, err = json.Marshal(w); err != nil {
		return err
	}
	if err := os.Remove(p.state); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Address is the server's HOST:PORT.
func (p *Process) Address() string { return p.address }

// Wait waits for the next event, of those that an earlier Wait did not look at,
// that matches. What it waits for is for the error if ctx ends before it comes.
func (p *Process) Wait(ctx context.Context, what string, match func(Event) bool) (Event, error) {
	for {
		e, found, news := p.find(match)
		if found {
			return e, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("waiting %s: %w", what, context.Cause(ctx))
		}
	}
}

// Events are all events until now.
func (p *Process) Events() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Event(nil), p.events...)
}

func (p *Process) find(match func(Event) bool) (Event, bool, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.seen < len(p.events) {
		p.seen++
		if e := p.events[p.seen-1]; match(e) {
			return e, true, nil
		}
	}
	return Event{}, false, p.news
}

func (p *Process) add(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	close(p.news)
	p.news = make(chan struct{})
}

// tail is what the server said, for a message.
func (p *Process) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "The last events of Tinkerbell's server, of %d:", len(p.events))
	for _, e := range p.events[max(0, len(p.events)-shownEvents):] {
		e.Attributes = nil // many lines
		fmt.Fprintf(&b, "\n    %+v", e)
	}
	if p.stderr.Len() > 0 {
		fmt.Fprintf(&b, "\nand its errors:\n%s", p.stderr.String())
	}
	return b.String()
}

// lockedWriter collects a server's standard error.
type lockedWriter struct{ *Process }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stderr.Write(b)
}
