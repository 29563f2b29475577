package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"
)

// The states of actions and workflows, as Tinkerbell names them.
const (
	statePending = "PENDING"
	stateRunning = "RUNNING"
	stateSuccess = "SUCCESS"
	stateTimeout = "TIMEOUT"
)

// progress is where a workflow is.
type progress struct {
	State    string    `json:"state"`             // of the workflow
	Actions  []string  `json:"actions"`           // state of each
	Current  int       `json:"current"`           // the action that was given last, -1 before the first
	Deadline time.Time `json:"deadline,omitzero"` // of the workflow
}

// runner runs a workflow. Its methods may be called by many goroutines.
type runner struct {
	workflow Workflow
	file     string // "" for none
	events   *eventLog

	mu      sync.Mutex
	at      progress
	changed chan struct{} // closed, and made anew, with each change
}

func newRunner(w Workflow, file string, events *eventLog) (*runner, error) {
	r := &runner{workflow: w, file: file, events: events, changed: make(chan struct{})}
	r.at = progress{State: statePending, Current: -1}
	for range w.Actions {
		r.at.Actions = append(r.at.Actions, statePending)
	}
	if file == "" {
		return r, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &r.at); err != nil {
		return nil, err
	}
	if len(r.at.Actions) != len(w.Actions) {
		return nil, errors.New("it is another workflow's")
	}
	return r, nil
}

// next gives the action that the agent may have now, if there is one. The channel is closed when that changes.
func (r *runner) next() (*Action, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.State != statePending && r.at.State != stateRunning {
		return nil, r.changed, nil
	}
	// An action that was given but never reported to run is given again, if it is the first one.
	n := r.at.Current
	if n < 0 || r.at.Actions[0] == statePending {
		n = 0
	} else if r.at.Actions[n] == stateSuccess {
		n++
	} else {
		return nil, r.changed, nil
	}
	if n == len(r.workflow.Actions) {
		return nil, r.changed, nil
	}
	r.at.Current = n
	return &r.workflow.Actions[n], r.changed, r.save()
}

// report takes the state of an action. It tells whether there is such an action.
func (r *runner) report(action, state string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, a := range r.workflow.Actions {
		if a.ID != action {
			continue
		}
		r.at.Actions[i], r.at.Current = state, i
		if state != stateSuccess {
			r.at.State = state
		} else if i == len(r.workflow.Actions)-1 {
			r.at.State = stateSuccess
		}
		if i == 0 && r.at.Deadline.IsZero() && r.workflow.Timeout > 0 {
			r.at.Deadline = time.Now().Add(time.Duration(r.workflow.Timeout) * time.Second)
		}
		return true, r.save()
	}
	return false, nil
}

// ended gives the state in which the workflow has ended, "" before.
func (r *runner) ended() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.State == statePending || r.at.State == stateRunning {
		return ""
	}
	return r.at.State
}

// watchDeadline ends the workflow when its time is over.
func (r *runner) watchDeadline(ctx context.Context) {
	for {
		r.mu.Lock()
		deadline, changed := r.at.Deadline, r.changed
		r.mu.Unlock()
		var over <-chan time.Time
		if !deadline.IsZero() {
			over = time.After(time.Until(deadline))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-over:
			if r.expire() {
				r.events.write(Event{Event: eventWorkflow, State: stateTimeout})
			}
			return
		}
	}
}

// expire tells whether it ended the workflow. A state that cannot be kept is only lost by a restart,
// which comes to the same end.
func (r *runner) expire() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.State != stateRunning {
		return false
	}
	r.at.State = stateTimeout
	_ = r.save()
	return true
}

// save keeps the state and wakes those who wait for a change.
func (r *runner) save() error {
	close(r.changed)
	r.changed = make(chan struct{})
	if r.file == "" {
		return nil
	}
	text, err := json.Marshal(r.at)
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.file+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(r.file+".new", r.file)
}
