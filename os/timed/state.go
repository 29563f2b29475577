package timed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/google/renameio/v2"
)

// Path is the file that tells the rest of the system about the clock; it is
// replaced atomically.
const Path = "/run/ember/time.json"

// State is what is known of the clock.
type State struct {
	Synchronised bool          // the clock has been set by a server since the boot
	Source       string        `json:",omitempty"` // the address of that server, the last if there were several
	Offset       time.Duration // how far the clock was off when it was compared last, in nanoseconds; positive if it was slow
	Stratum      uint8         `json:",omitempty"` // how many servers are between that one and a reference clock
	LastUpdate   time.Time     `json:",omitzero"`  // when it was compared last
	Why          string        `json:",omitempty"` // why it could not be compared since, for people
}

// ReadState reads the file at path. Before the daemon has written it the state is
// zero.
func ReadState(path string) (State, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("reading the clock's state: %w", err)
	}
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		return State{}, fmt.Errorf("reading the clock's state from %s: %w", path, err)
	}
	return s, nil
}

func (s State) write(path string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = renameio.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the clock's state: %w", err)
	}
	return nil
}
