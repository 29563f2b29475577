package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/google/renameio/v2"

	"github.com/ember-os/ember/os/lkg/machine"
)

// Path is where the rest of the machine can see how far the boot is.
const Path = "/run/ember/boot.json"

// Record is what is known.
type Record struct {
	Phase   machine.Phase
	From    machine.Source
	Kept    bool   `json:",omitempty"` // it runs with the configuration that was kept
	Attempt uint32 `json:",omitempty"` // boots since the last success
	Why     string `json:",omitempty"` // it is in this phase, for people
}

// ReadRecord reads the record at a path; it is zero where there is none.
func ReadRecord(path string) (r Record, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return Record{}, fmt.Errorf("reading how far the boot is: %w", err)
	}
	return r, nil
}

func (r Record) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = renameio.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing how far the boot is: %w", err)
	}
	return nil
}
