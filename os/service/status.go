package service

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ember-os/ember/os/jsonfile"
	"github.com/ember-os/ember/os/stage"
)

// State is what a unit does now.
type State string

// The states.
const (
	Waiting    State = "waiting"  // for the units that it starts after
	Starting   State = "starting" // until it is ready
	Active     State = "active"
	Exited     State = "exited"     // it has ended well and counts as active
	Stopping   State = "stopping"   // until its processes have ended and ExecStopPost is done
	Restarting State = "restarting" // it has ended and will be started again
	Failed     State = "failed"
	Dead       State = "dead" // it has ended well, or was stopped, or never started
)

// Status is what there is to know of a unit.
type Status struct {
	Name        string
	Description string `json:",omitempty"`
	State       State
	Since       time.Duration // of the state: nanoseconds since kernel start
	PID         int           `json:",omitempty"` // of its main process
	Restarts    int           `json:",omitempty"`
	LastExit    string        `json:",omitempty"` // how its main process ended last: "exit status 1"
	Reason      string        `json:",omitempty"` // why it failed, or for what it is restarted
	Text        string        `json:",omitempty"` // what it says of itself: STATUS= of sd_notify(3)
	Cgroup      string        `json:",omitempty"` // the directory
	Units       []string      `json:",omitempty"` // those that it starts
	Problems    []string      `json:",omitempty"` // see unit.Unit
}

// Statuses gives the statuses of all units, sorted by name.
func (m *Manager) Statuses() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Status, 0, len(m.units))
	for _, name := range slices.Sorted(maps.Keys(m.units)) {
		all = append(all, m.units[name].status)
	}
	return all
}

// File is where a manager keeps its units' statuses, in its directory.
const File = "services.json"

// How often the file is written at most, and is tried again if it can not be.
const (
	publishDelay = 100 * time.Millisecond
	publishRetry = time.Second
)

// publish keeps the file up to date until quit is closed.
func (m *Manager) publish() {
	for {
		delay := publishDelay
		select {
		case <-m.changed:
			if !m.write() {
				m.touch()
				delay = publishRetry
			}
		case <-m.quit:
			return
		}
		select {
		case <-time.After(delay):
		case <-m.quit:
			return
		}
	}
}

// write writes the file, and tells whether it could. That it can not is said once.
func (m *Manager) write() bool {
	err := jsonfile.Write(filepath.Join(m.o.Dir, File), m.Statuses(), 0o644)
	if err != nil && !m.writeFailed.Swap(true) {
		m.o.Log.Warn("nobody can see the states of services", "err", err)
	}
	return err == nil
}

// ReadStatuses reads a manager's file.
func ReadStatuses(path string) ([]Status, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the states of services: %w", err)
	}
	var all []Status
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("reading the states of services from %s: %w", path, err)
	}
	return all, nil
}

// update changes the unit's status.
func (s *service) update(change func(*Status)) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	change(&s.status)
	s.m.touch()
}

// enter changes the unit's state.
func (s *service) enter(state State, reason string) {
	s.update(func(st *Status) {
		st.State, st.Reason, st.Since = state, reason, stage.Now()
		if state != Active && state != Stopping && state != Starting {
			st.PID = 0
		}
	})
}

// touch has the file written soon.
func (m *Manager) touch() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}
