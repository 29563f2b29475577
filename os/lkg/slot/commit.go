package slot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/ember-os/ember/os/lkg/state"
	"golang.org/x/sys/unix"
)

const (
	head   = 512       // bytes of a file that are written last: a sector
	chunk  = 1 << 20   // bytes at a time
	margin = 256 << 10 // bytes for directories and the state
)

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
	r := s.pair.Record
	if s.pair.Err() != nil && good != state.None {
		var err error
		if r.Slots[good-state.A], err = s.adopt(ctx, good); err != nil {
			return Result{}, err
		}
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
	return res, s.save(r)
}

// Attempt counts a boot, where there is no TPM to do it.
func (s *Store) Attempt() error {
	r := s.pair.Record
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

// create makes a file that has its name for good.
func (s *Store) create(name string) (File, error) {
	if err := mkdirs(s.fs, name); err != nil {
		return nil, err
	}
	f, err := s.fs.Create(name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Sync(), s.fs.SyncDir(path.Dir(name))); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// adopt takes what is in a slot for good, where there is no state that says what it was.
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
	case s.isDefault && is && s.pair.Err() == nil && size != written && s.isProgram(s.defaultPath):
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

func (s *Store) remove(name string) error {
	err := s.fs.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.fs.SyncDir(path.Dir(name))
	}
	return err
}

// spoil removes a program. It is none any more before parts of it can be missing.
func (s *Store) spoil(name string) error {
	f, err := s.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil {
		err = writeSync(f, make([]byte, min(size, head)))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return s.remove(name)
}

// put makes a file, and reads it back. A file that could not be written whole is removed.
func (s *Store) put(ctx context.Context, name string, want state.Image, open func() (io.ReadCloser, error)) error {
	from, err := open()
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := s.create(name)
	if err != nil {
		return err
	}
	err = errors.Join(fill(ctx, f, from, want), f.Close())
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
		if s.remove(name) != nil {
			err = fmt.Errorf("%w; what there is of it stays", err)
		}
		return err
	}
	return s.fs.SyncDir(path.Dir(name))
}

func fill(ctx context.Context, f File, from io.Reader, want state.Image) error {
	size := min(want.Size, head)
	first := make([]byte, size)
	promised := sha256.New()
	from = io.TeeReader(from, promised)
	if _, err := io.ReadFull(from, first); err != nil {
		return fmt.Errorf("getting what is to be written: %w", err)
	}
	// Zeros that the disk has, before the file is long enough for what was in its place to pass for a program.
	if err := writeSync(f, make([]byte, size)); err != nil {
		return err
	}
	buf := make([]byte, chunk)
	for at := size; at < want.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(from, buf[:min(chunk, want.Size-at)])
		if err != nil {
			return fmt.Errorf("getting what is to be written: %w", err)
		}
		if _, err := f.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	if [sha256.Size]byte(promised.Sum(nil)) != want.SHA256 {
		return errors.New("what was to be written is not what its digest says")
	}
	if err := f.Sync(); err != nil {
		return err
	}
	sum, err := hash(ctx, first, f)
	if err != nil {
		return err
	}
	if sum != want.SHA256 {
		return fmt.Errorf("what was written: %w", ErrDamaged)
	}
	if err := writeSync(f, first); err != nil {
		return err
	}
	if sum, err = hash(ctx, nil, f); err == nil && sum != want.SHA256 {
		err = fmt.Errorf("what was written: %w", ErrDamaged)
	}
	return err
}

func writeSync(f File, b []byte) error {
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Sync()
}
