package boot

import (
	"fmt"

	"github.com/ember-os/ember/os/jsonfile"
	"github.com/ember-os/ember/os/lkg/machine"
)

// Path is where the rest of the machine can see how far the boot is.
const Path = "/run/ember/boot.json"

// Record is what is known.
type Record struct {
	Phase machine.Phase
	From  machine.Source
	Kept  bool   `json:",omitempty"` // it runs with the configuration that was kept
	Why   string `json:",omitempty"` // it is in this phase, for people
}

// ReadRecord reads the record at a path; it is zero where there is none.
func ReadRecord(path string) (Record, error) {
	r, err := jsonfile.Read[Record](path)
	if err != nil {
		return r, fmt.Errorf("reading how far the boot is: %w", err)
	}
	return r, nil
}

// resume is a boot that may have begun as the record says. Once it has opened what was kept, it goes nowhere else.
func (r Record) resume(b machine.Boot) machine.Boot {
	if r.Kept {
		b.From, b.Means = r.From, machine.Means{}
	}
	return b
}

func (r Record) write(path string) error {
	if err := jsonfile.Write(path, r, 0o644); err != nil {
		return fmt.Errorf("writing how far the boot is: %w", err)
	}
	return nil
}
