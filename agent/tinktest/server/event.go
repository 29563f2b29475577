package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
)

// Event is one thing that happened.
type Event struct {
	Event string `json:"event"`
	// Address is where the server listens, or where an agent connects from.
	Address string `json:"address,omitempty"`
	Agent   string `json:"agent,omitempty"`
	// Method is the call with which an agent came that speaks another protocol than this server.
	Method string `json:"method,omitempty"`
	// Attributes is what an agent says of its machine, when it connects.
	Attributes json.RawMessage `json:"attributes,omitempty"`
	Action     string          `json:"action,omitempty"` // ID
	Name       string          `json:"name,omitempty"`   // of the action
	State      string          `json:"state,omitempty"`  // of the action, or of the workflow
	Message    string          `json:"message,omitempty"`
}

// The events.
const (
	eventListening = "listening" // once
	eventConnected = "connected" // an agent's first request on a connection
	eventAction    = "action"    // an action was given
	eventStatus    = "status"    // an action's state was reported
	eventWorkflow  = "workflow"  // the workflow has ended, in State
	eventForeign   = "foreign"   // a call of another protocol
)

type eventLog struct {
	mu  sync.Mutex
	out io.Writer
}

// write writes an event. Where nobody reads them any longer there is nothing left to serve.
func (l *eventLog) write(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := json.NewEncoder(l.out).Encode(e); err != nil {
		fmt.Fprintln(os.Stderr, "tinkserver: writing an event:", err)
		os.Exit(1)
	}
}
