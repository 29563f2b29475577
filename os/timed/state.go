package timed

import (
	"fmt"
	"time"

	"github.com/ember-os/ember/os/jsonfile"
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

func (s State) write(path string) error {
	if err := jsonfile.Write(path, s, 0o644); err != nil {
		return fmt.Errorf("writing the clock's state: %w", err)
	}
	return nil
}
