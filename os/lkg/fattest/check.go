package fattest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
)

// Check gives what is good on an ESP after a power cut. It has to be one of some contents, and whole, and firmware
// must find no program of a slot that is not whole.
func Check(ctx context.Context, f slot.FS, defaultPath string, expected ...state.Content) (good state.Content, err error) {
	s, err := slot.Open(f, defaultPath, state.None)
	if err != nil {
		return good, err
	}
	r := s.Record()
	if good = r.Content(r.Good); !slices.Contains(expected, good) {
		return good, fmt.Errorf("slot %v is good by the state, and holds something unexpected", r.Good)
	}
	for _, which := range []state.Slot{state.A, state.B} {
		if which != r.Good && !isProgram(f, s.System(which)) {
			continue
		}
		if err := s.Verify(ctx, which); err != nil {
			return good, fmt.Errorf("slot %v, while slot %v is the good one: %w", which, r.Good, err)
		}
	}
	return good, nil
}

func isProgram(f slot.FS, name string) bool {
	file, err := f.Open(name)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer file.Close()
	var b [2]byte
	_, err = file.ReadAt(b[:], 0)
	return err == nil && string(b[:]) == "MZ"
}
