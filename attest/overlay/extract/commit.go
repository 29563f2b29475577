package extract

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/ember-os/ember/attest/overlay/archive"
	"golang.org/x/sys/unix"
)

// Commit moves what is staged into root, where machines have "/". First it makes sure that all of it can be
// written; an error then has changed nothing and says so with ErrUnchanged.
//
// Files and links replace files and links of the same name, each at once; where a directory is in the place of
// a file, or the other way round, that is an error. Directories that are already there keep their owner and
// mode; those that no entry names are made with 0755, root's. No symbolic link is followed. Nothing is
// flushed to a disk.
func (s *Staged) Commit(root string) error {
	dir, err := os.Open(root)
	if err != nil {
		return fmt.Errorf("applying the overlay: %w: %w", ErrUnchanged, err)
	}
	defer dir.Close()
	staged, err := s.root.Open(".")
	if err != nil {
		return fmt.Errorf("applying the overlay: %w: %w", ErrUnchanged, err)
	}
	defer staged.Close()
	t := tree{dir}
	if err := s.preview(t, staged); err != nil {
		return fmt.Errorf("applying the overlay: %w: %w", ErrUnchanged, err)
	}
	for i, e := range s.entries {
		if err := s.apply(t, staged, i); err != nil {
			return fmt.Errorf("applying the overlay: it is applied in part: %q: %w", e.Path, err)
		}
	}
	return nil
}

// ErrUnchanged is in the errors of Commit after which the machine is as it was.
var ErrUnchanged = errors.New("nothing was changed")

// preview tells why an entry could not be written.
func (s *Staged) preview(t tree, staged *os.File) error {
	need, err := newNeeds(staged)
	if err != nil {
		return err
	}
	for _, e := range s.entries {
		if err := preview(t, e, need); err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
	}
	return need.check()
}

func preview(t tree, e archive.Entry, need *needs) error {
	parent, there, err := t.nearest(path.Dir(e.Path))
	if err != nil {
		return err
	}
	defer parent.Close()
	if there {
		found, err := kind(parent, path.Base(e.Path))
		switch {
		case err != nil:
			return err
		case found == unix.S_IFDIR && e.Kind != archive.Directory:
			return errors.New("the machine has a directory there")
		case found != 0 && found != unix.S_IFDIR && e.Kind == archive.Directory:
			return errors.New("the machine has something else than a directory there")
		}
	}
	if e.Kind == archive.File {
		return need.add(parent, e.Size)
	}
	return nil
}

func (s *Staged) apply(t tree, staged *os.File, i int) error {
	e := s.entries[i]
	if err := s.parents(t, path.Dir(e.Path)); err != nil {
		return err
	}
	if err := s.step(); err != nil {
		return err
	}
	if e.Kind == archive.Directory {
		return t.makeDir(e.Path, e.Mode, e.UID, e.GID)
	}
	dir, err := t.open(path.Dir(e.Path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if e.Kind == archive.Symlink {
		return makeLink(dir, path.Base(e.Path), e.Target, e.UID, e.GID)
	}
	return s.move(staged, s.name(i), dir, e)
}

// parents makes the directories above an entry that neither the machine nor the overlay has.
func (s *Staged) parents(t tree, name string) error {
	dir, there, err := t.nearest(name)
	if err != nil {
		return err
	}
	dir.Close()
	if there {
		return nil
	}
	if err := s.parents(t, path.Dir(name)); err != nil {
		return err
	}
	if err := s.step(); err != nil {
		return err
	}
	return t.makeDir(name, 0o755, 0, 0)
}

// move gives a staged file its owner, mode and place.
func (s *Staged) move(staged *os.File, name string, dir *os.File, e archive.Entry) error {
	in, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := finish(in, e); err != nil {
		return err
	}
	err = rename(staged, name, dir, path.Base(e.Path))
	if !errors.Is(err, unix.EXDEV) {
		return err
	}
	out, err := create(dir)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, finish(out, e), out.Close(), s.step()); err != nil {
		return err
	}
	if err := rename(dir, temporary, dir, path.Base(e.Path)); err != nil {
		return err
	}
	return s.root.Remove(name) // so that two copies are never there of more than one file
}

func finish(f *os.File, e archive.Entry) error {
	return errors.Join(f.Chown(e.UID, e.GID), f.Chmod(e.Mode))
}
