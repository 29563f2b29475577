package slot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/ember-os/ember/os/lkg/state"
	"golang.org/x/sys/unix"
)

// margin is for directories and the state, in bytes.
const margin = 256 << 10

// Candidate is what was booted and made a healthy node.
type Candidate struct {
	Content state.Content
	// System and Config open what Content describes. They are called only if it has to be written, Config only if
	// there is one.
	System, Config func() (io.ReadCloser, error)

	Overlay uint64 // the version of the configuration
	Success time.Time
	TPM     bool // Resets is the TPM's resetCount now
	Resets  uint32
}

// Result is what a commit did.
type Result struct {
	Good    state.Slot
	Written bool  // the slot; else it was the same already, and only the state was
	Warning error // what was found to be wrong, and is no obstacle
}

// Commit makes a candidate the good one. After an error, or where the power is cut, what was good before is as good
// as it was; an error of a full disk is an ENOSPC, of one that can only be read an EROFS.
func (s *Store) Commit(ctx context.Context, c Candidate) (Result, error) {
	good, warning := s.Good(ctx)
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("committing to last-known-good: %w", err)
	}
	res := Result{Good: good, Warning: warning}
	r, err := s.record(ctx)
	if err != nil {
		return Result{}, err
	}
	if good == state.None {
		res.Good = r.Good.Other()
	} else {
		res.Good = good.Other()
	}
	if good != state.None && r.Content(good) == c.Content {
		res.Good = good
	} else {
		res.Written = true
		r.Good, r.Slots[res.Good-state.A] = good, c.Content
		if err := s.write(ctx, r, res.Good, c); err != nil {
			return Result{}, fmt.Errorf("writing slot %v of last-known-good: %w", res.Good, err)
		}
	}
	r.Good, r.Overlay, r.Success, r.TPM, r.Resets, r.Attempts = res.Good, c.Overlay, c.Success, c.TPM, c.Resets, 0
	if err := s.save(r); err != nil || !res.Written {
		return res, err
	}
	// The older record too: if either becomes bad, the other one does not lead to what was good before.
	return res, s.save(r)
}

// Success counts a success of which nothing can be kept. Of a candidate it takes what is not about the slots.
func (s *Store) Success(ctx context.Context, c Candidate) error {
	r, err := s.record(ctx)
	if err != nil {
		return err
	}
	r.Success, r.TPM, r.Resets, r.Attempts = c.Success, c.TPM, c.Resets, 0
	return s.save(r)
}

// Attempt counts a boot, where there is no TPM to do it.
func (s *Store) Attempt(ctx context.Context) error {
	r, err := s.record(ctx)
	if err != nil {
		return err
	}
	r.Attempts++
	return s.save(r)
}

func (s *Store) save(r state.Record) error {
	f, err := s.fs.Open(StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.create(StateFile)
	}
	if err != nil {
		return fmt.Errorf("opening the state of last-known-good: %w", err)
	}
	defer f.Close()
	p, err := s.pair.Write(f, r)
	if err == nil {
		s.pair = p
	}
	return err
}

// record is what the next record is made of: the one that counts. Where none does, what is in the slots is taken for
// what was written to them, and the one that Good gives for the good one, so that it is not forgotten.
func (s *Store) record(ctx context.Context) (state.Record, error) {
	r := s.pair.Record
	if s.Err() == nil {
		return r, nil
	}
	r.Good = s.guess()
	for _, slot := range []state.Slot{state.A, state.B} {
		if !s.isProgram(s.System(slot)) {
			continue
		}
		var err error
		if r.Slots[slot-state.A], err = s.adopt(ctx, slot); err != nil {
			return r, err
		}
	}
	return r, nil
}

// adopt gives what is in a slot.
func (s *Store) adopt(ctx context.Context, slot state.Slot) (state.Content, error) {
	system, err := s.measure(ctx, s.System(slot))
	if err != nil {
		return state.Content{}, err
	}
	config, err := s.measure(ctx, s.Config(slot))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return state.Content{System: system, Config: config}, err
}

// write fills the idle slot. The state, which r becomes, has the size of what is or will be there at every time at
// which that passes for a program, so that what a power cut leaves can be told from what somebody else has put there.
func (s *Store) write(ctx context.Context, r state.Record, idle state.Slot, c Candidate) error {
	if err := s.choose(idle); err != nil {
		return err
	}
	if err := s.room(r.Good, idle, c.Content); err != nil {
		return err
	}
	if err := s.spoil(s.System(idle)); err != nil {
		return err
	}
	if err := s.remove(s.Config(idle)); err != nil {
		return err
	}
	if err := s.save(r); err != nil {
		return err
	}
	if c.Content.Config.Size > 0 {
		if err := s.put(ctx, s.Config(idle), c.Content.Config, c.Config); err != nil {
			return err
		}
	}
	return s.put(ctx, s.System(idle), c.Content.System, c.System)
}

// choose gives slot A the default path, if nobody else has it, and takes it away if somebody else has put something
// there.
func (s *Store) choose(idle state.Slot) error {
	if idle != state.A {
		return nil
	}
	size, is, err := exists(s.fs, s.defaultPath)
	if err != nil {
		return err
	}
	written := s.pair.Record.Content(state.A).System.Size
	switch {
	case s.isDefault && is && s.Err() == nil && size != written && s.isProgram(s.defaultPath):
		s.isDefault = false
		return s.remove(defaultMark)
	case !s.isDefault && !is && written == 0:
		f, err := s.create(defaultMark)
		if err != nil {
			return err
		}
		s.isDefault = true
		return f.Close()
	}
	return nil
}

// room makes sure that there is enough for both slots.
func (s *Store) room(good, idle state.Slot, c state.Content) error {
	free, err := s.fs.Free()
	if err != nil {
		return err
	}
	for _, name := range []string{s.System(idle), s.Config(idle)} {
		size, _, err := exists(s.fs, name)
		if err != nil {
			return err
		}
		free += size
	}
	need := c.System.Size + c.Config.Size + margin
	if good == state.None {
		need *= 2
	}
	if free < need {
		return fmt.Errorf("the EFI system partition has room for %d KB, and %d KB are needed; remove what is not used, or make it larger: %w",
			free>>10, need>>10, unix.ENOSPC)
	}
	return nil
}
