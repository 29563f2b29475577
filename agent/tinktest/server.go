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
	"testing"
	"time"

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

// Server is the program tinkserver.
type Server struct {
	t        testing.TB
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

func newServer(t testing.TB, network Network, address, program string, tls bool, w document) (*Server, error) {
	s := &Server{t: t, network: network, address: address, program: program, news: make(chan struct{})}
	s.state = filepath.Join(t.TempDir(), "workflow.state")
	s.args = []string{"-listen-fd", "3", "-state", s.state}
	if err := s.give(w); err != nil {
		return nil, err
	}
	if tls {
		cert, key := network.Certificate()
		s.args = append(s.args, "-tls-cert", cert, "-tls-key", key)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Log(s.tail())
		}
	})
	return s, nil
}

// Start starts the server, or starts it again where it was.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("starting Tinkerbell's server: %v", err)
	}
	s.Wait("that the server listens", func(e Event) bool { return e.Event == "listening" })
}

func (s *Server) start() error {
	listener := s.network.Listen("tcp", s.address)
	defer listener.Close() // or connections would be accepted while the server is stopped
	s.address = listener.Addr().String()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer socket.Close()
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), s.program, s.args...)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Stdin = bytes.NewReader(s.workflow)
	cmd.Stderr = lockedWriter{s}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.read = cmd, make(chan struct{})
	go func() {
		defer close(s.read)
		for d := json.NewDecoder(out); ; {
			var e Event
			if d.Decode(&e) != nil {
				return
			}
			s.add(e)
		}
	}()
	return nil
}

// Stop ends the server and its connections; from then on they are refused.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(unix.SIGTERM)
	<-s.read
	s.cmd.Wait()
	s.cmd = nil
}

// give stops the server, which will have another workflow.
func (s *Server) give(w document) (err error) {
	s.Stop()
	if s.workflow, err = json.Marshal(w); err != nil {
		return err
	}
	if err := os.Remove(s.state); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Address is the server's HOST:PORT.
func (s *Server) Address() string { return s.address }

// Wait waits for the next event, of those that an earlier Wait did not look at,
// that matches. What it waits for is for the message if it does not come.
func (s *Server) Wait(what string, match func(Event) bool) Event {
	s.t.Helper()
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		e, found, news := s.find(match)
		if found {
			return e
		}
		select {
		case <-news:
		case <-over.C:
			s.t.Fatalf("waiting %s: nothing of it for %v", what, patience)
		case <-s.t.Context().Done():
			s.t.Fatalf("waiting %s: the test has ended", what)
		}
	}
}

// Connected waits for an agent to connect.
func (s *Server) Connected(agent string) Event {
	s.t.Helper()
	return s.Wait("for the agent "+agent+" to connect", func(e Event) bool { return e.Event == "connected" && e.Agent == agent })
}

// Foreign waits for an agent that speaks another protocol, such as tink-worker.
// The server has nothing for it.
func (s *Server) Foreign(agent string) Event {
	s.t.Helper()
	return s.Wait("for the agent "+agent+" with another protocol", func(e Event) bool { return e.Event == "foreign" && e.Agent == agent })
}

// Status waits for an action's state to be reported, such as "RUNNING". The
// test fails at once if the workflow ends before.
func (s *Server) Status(action, state string) Event {
	s.t.Helper()
	e := s.Wait("for the action "+action+" to be "+state, func(e Event) bool {
		return e.Event == "status" && e.Name == action && e.State == state || e.Event == "workflow"
	})
	if e.Event == "workflow" {
		s.t.Fatalf("the workflow ended with %s before the action %s was %s", e.State, action, state)
	}
	return e
}

// Ended waits for the workflow to end and gives its state: "SUCCESS", "FAILED"
// or "TIMEOUT".
func (s *Server) Ended() string {
	s.t.Helper()
	return s.Wait("for the workflow to end", func(e Event) bool { return e.Event == "workflow" }).State
}

// Events are all events until now.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event(nil), s.events...)
}

func (s *Server) find(match func(Event) bool) (Event, bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.seen < len(s.events) {
		s.seen++
		if e := s.events[s.seen-1]; match(e) {
			return e, true, nil
		}
	}
	return Event{}, false, s.news
}

func (s *Server) add(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	close(s.news)
	s.news = make(chan struct{})
}

// tail is what the server said, for a message.
func (s *Server) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "The last events of Tinkerbell's server, of %d:", len(s.events))
	for _, e := range s.events[max(0, len(s.events)-shownEvents):] {
		e.Attributes = nil // many lines
		fmt.Fprintf(&b, "\n    %+v", e)
	}
	if s.stderr.Len() > 0 {
		fmt.Fprintf(&b, "\nand its errors:\n%s", s.stderr.String())
	}
	return b.String()
}

// lockedWriter collects a server's standard error.
type lockedWriter struct{ *Server }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stderr.Write(b)
}
