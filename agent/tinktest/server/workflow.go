package main

import (
	"errors"
	"fmt"
)

// Workflow is what one agent has to do.
type Workflow struct {
	ID    string `json:"id"`    // of the workflow, NAMESPACE/NAME
	Agent string `json:"agent"` // its agent's ID
	// Timeout is what the workflow has from the start of its first action, in seconds; 0 for ever.
	Timeout int      `json:"timeout,omitempty"`
	Actions []Action `json:"actions"`
}

// Action is one container.
type Action struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Image       string   `json:"image"`
	Timeout     int64    `json:"timeout"` // in seconds; the agent gives an action with 0 no time at all
	Command     []string `json:"command,omitempty"`
	Volumes     []string `json:"volumes,omitempty"`
	Environment []string `json:"environment,omitempty"` // NAME=VALUE
	PID         string   `json:"pid,omitempty"`         // "host" for the host's namespace
}

func (w Workflow) check() error {
	if w.ID == "" || w.Agent == "" || len(w.Actions) == 0 {
		return errors.New("it needs an id, an agent and actions")
	}
	seen := map[string]bool{}
	for i, a := range w.Actions {
		if a.ID == "" || a.Image == "" || a.Timeout <= 0 {
			return fmt.Errorf("action %d needs an id, an image and a timeout", i+1)
		}
		if seen[a.ID] {
			return fmt.Errorf("two actions have the ID %s", a.ID)
		}
		seen[a.ID] = true
	}
	return nil
}
