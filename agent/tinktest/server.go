package tinktest

import (
	"context"
	"errors"
	"testing"
)

// Server is the Process of a test, which fails where the Process does.
type Server struct {
	*Process
	t testing.TB
}

// Start starts the server, or starts it again where it was.
func (s *Server) Start() {
	s.t.Helper()
	ctx, cancel := s.patient()
	defer cancel()
	if err := s.Process.Start(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// patient ends after patience, or with the test.
func (s *Server) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(s.t.Context(), patience, errors.New("nothing of it for "+patience.String()))
}

// Wait waits for the next event that matches.
func (s *Server) Wait(what string, match func(Event) bool) Event {
	s.t.Helper()
	ctx, cancel := s.patient()
	defer cancel()
	e, err := s.Process.Wait(ctx, what, match)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
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
