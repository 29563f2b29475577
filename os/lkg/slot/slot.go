// Package slot keeps the last system that made this machine a healthy node, with its configuration, on the ESP: in
// two slots, of which one is good, and the other one is written.
//
// A slot is two files, whose names both firmware and FAT without long names can have:
//
//	EFI/BOOT/BOOTX64.EFI or EFI/EMBERA/BOOT.EFI   the system in slot A, an EFI program
//	EFI/EMBERA/CONFIG                             the configuration it was healthy with
//	EFI/EMBERA/DEFAULT                            exists if slot A is the first of these
//	EFI/EMBERB/BOOT.EFI, EFI/EMBERB/CONFIG        slot B
//	EFI/EMBER/STATE                               which is good: package os/lkg/state
//
// Slot A is what firmware boots when it has forgotten all boot entries, unless something else was there first: what
// is not ours is never touched. Each slot has directories of its own, so that no sector of a directory is written
// that the good one needs.
//
// A write ends well or can be cut anywhere, and the disk may have kept the writes since the last flush in any order:
// the good slot is never written; the idle one is no EFI program until all of it has been read back from the disk,
// because its first bytes are written last; and only then does one sector say that it is good. It is assumed that a
// disk writes a sector of 512 bytes as a whole or not at all. Nothing is repaired, and nobody else's file removed.
package slot

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/ember-os/ember/os/lkg/state"
)

// Names on the ESP; see the package comment.
const (
	StateFile = "EFI/EMBER/STATE"

	defaultMark = "EFI/EMBERA/DEFAULT"
	configName  = "/CONFIG"
	systemName  = "/BOOT.EFI"
)

// DefaultPaths is what firmware boots from a disk without any entry: UEFI 2.10, section 3.5.1.1, by GOARCH.
var DefaultPaths = map[string]string{"amd64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}

// ErrDamaged says that a file is not what was written.
var ErrDamaged = errors.New("it is not what was written")

// Store is the slots of an ESP. It is not for several at a time.
type Store struct {
	fs          FS
	defaultPath string
	hint        state.Slot
	pair        state.Pair
	isDefault   bool  // slot A is at the default path
	lost        error // what a state without a record is
}

var errLost = errors.New("the state of last-known-good is lost: there is none, but there are slots")

// Open reads the state; it writes nothing. defaultPath is one of DefaultPaths. hint is the slot that the firmware's
// boot entries name first: it counts where the state can not be read. No state is a lost one where a slot holds a
// program: a first commit writes a record before there is any.
func Open(f FS, defaultPath string, hint state.Slot) (*Store, error) {
	s := &Store{fs: f, defaultPath: defaultPath, hint: hint}
	_, is, err := exists(f, defaultMark)
	if err != nil {
		return nil, fmt.Errorf("looking for slot A: %w", err)
	}
	s.isDefault = is
	if s.pair, err = readState(f); err != nil {
		return nil, err
	}
	if s.isProgram(s.System(state.A)) || s.isProgram(s.System(state.B)) {
		s.lost = errLost
	}
	return s, nil
}

func readState(f FS) (state.Pair, error) {
	opened, err := f.Open(StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return state.Pair{}, nil
	}
	if err != nil {
		return state.Pair{}, fmt.Errorf("opening the state of last-known-good: %w", err)
	}
	defer opened.Close()
	return state.Read(opened)
}

// Record is the state as it is on the disk; zero if there is none.
func (s *Store) Record() state.Record { return s.pair.Record }

// Err says that both records of the state are bad, or lost.
func (s *Store) Err() error {
	if s.pair.Record.Sequence > 0 {
		return nil
	}
	return cmp.Or(s.pair.Err(), s.lost)
}

// System is the name of the system's file in a slot.
func (s *Store) System(slot state.Slot) string {
	if slot == state.A && s.isDefault {
		return s.defaultPath
	}
	return directory(slot) + systemName
}

// Config is the name of the configuration's file in a slot.
func (s *Store) Config(slot state.Slot) string { return directory(slot) + configName }

func directory(slot state.Slot) string {
	if slot == state.A {
		return "EFI/EMBERA"
	}
	return "EFI/EMBERB"
}

// Verify reads a slot, and compares it with the state. An ErrDamaged says that it is not the same; fs.ErrNotExist
// that something of it is not there.
func (s *Store) Verify(ctx context.Context, slot state.Slot) error {
	c := s.pair.Record.Content(slot)
	err := s.verify(ctx, s.System(slot), c.System)
	if err == nil && c.Config.Size > 0 {
		err = s.verify(ctx, s.Config(slot), c.Config)
	}
	return err
}

func (s *Store) verify(ctx context.Context, name string, want state.Image) error {
	got, err := s.measure(ctx, name)
	if err == nil && (got != want || got.Size == 0) {
		err = fmt.Errorf("reading %s: %w", name, ErrDamaged)
	}
	return err
}

// measure gives what a file is.
func (s *Store) measure(ctx context.Context, name string) (state.Image, error) {
	f, err := s.fs.Open(name)
	if err != nil {
		return state.Image{}, fmt.Errorf("reading %s: %w", name, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return state.Image{}, fmt.Errorf("reading %s: %w", name, err)
	}
	sum, err := hash(ctx, nil, f)
	if err != nil {
		return state.Image{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return state.Image{Size: size, SHA256: sum}, nil
}

// hash is of a file whose beginning is replaced by head.
func hash(ctx context.Context, head []byte, f io.ReaderAt) ([sha256.Size]byte, error) {
	h := sha256.New()
	h.Write(head)
	buf := make([]byte, chunk)
	for at := int64(len(head)); ; {
		if err := ctx.Err(); err != nil {
			return [sha256.Size]byte{}, err
		}
		n, err := f.ReadAt(buf, at)
		h.Write(buf[:n])
		at += int64(n)
		if err == io.EOF {
			return [sha256.Size]byte(h.Sum(nil)), nil
		}
		if err != nil {
			return [sha256.Size]byte{}, err
		}
	}
}

// Good is the slot to boot: the one that the state calls good, if it is whole; else the other one, if that is. It is
// None if neither is, or nothing was ever written. The error is for people: what is wrong with a slot, or the state.
// Where the state can not be read, it is the slot of the hint, else one that there is.
func (s *Store) Good(ctx context.Context) (state.Slot, error) {
	if err := s.Err(); err != nil {
		return s.guess(), err
	}
	first := s.pair.Record.Good
	if first == state.None {
		return state.None, nil
	}
	damage := s.Verify(ctx, first)
	if damage == nil {
		return first, s.pair.Damaged()
	}
	err := s.Verify(ctx, first.Other())
	if err == nil {
		return first.Other(), damage
	}
	return state.None, errors.Join(damage, err)
}

func (s *Store) guess() state.Slot {
	for _, slot := range []state.Slot{s.hint, state.A, state.B} {
		if slot != state.None && s.isProgram(s.System(slot)) {
			return slot
		}
	}
	return state.None
}

// isProgram tells whether firmware could take a file for an EFI program.
func (s *Store) isProgram(name string) bool {
	f, err := s.fs.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [2]byte
	_, err = f.ReadAt(b[:], 0)
	return err == nil && bytes.Equal(b[:], []byte("MZ"))
}
