package extract

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"filippo.io/age"
	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/manifest"
)

// Staged is an overlay that is found whole, ready to Commit.
type Staged struct {
	dir     string
	root    *os.Root
	entries []archive.Entry // the content of the file i is in the file i of root

	step func() error // before each change of the machine's root; tests stop there
}

// Stage reads an overlay whose manifest is trusted and keeps it in a directory of its own below dir, which is
// on a filesystem in memory or on a disk that nobody else has. Files in it are called by numbers: no path of
// the archive is used yet. Where dir has too little room nothing is read and the error is a *SpaceError. Close
// removes what was staged.
func Stage(dir string, ciphertext io.Reader, key age.Identity, m *manifest.Manifest) (*Staged, error) {
	if err := Space(dir, m); err != nil {
		return nil, fmt.Errorf("staging overlay %s: %w", m, err)
	}
	own, err := os.MkdirTemp(dir, "overlay-")
	if err != nil {
		return nil, fmt.Errorf("staging overlay %s: %w", m, err)
	}
	root, err := os.OpenRoot(own)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("staging overlay %s: %w", m, err), os.Remove(own))
	}
	s := &Staged{dir: own, root: root, step: func() error { return nil }}
	if err := Read(ciphertext, key, m, s.add); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Staged) add(e archive.Entry, content io.Reader) error {
	s.entries = append(s.entries, e)
	if e.Kind != archive.File {
		return nil
	}
	f, err := s.root.OpenFile(s.name(len(s.entries)-1), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("staging %q: %w", e.Path, err)
	}
	_, err = io.Copy(f, content)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("staging %q: %w", e.Path, err)
	}
	return nil
}

func (s *Staged) name(entry int) string { return strconv.Itoa(entry) }

// Entries are what the overlay holds, in its order: a directory is before what is in it.
func (s *Staged) Entries() []archive.Entry { return slices.Clone(s.entries) }

// Close removes what is staged and not committed.
func (s *Staged) Close() error {
	if err := errors.Join(s.root.Close(), os.RemoveAll(s.dir)); err != nil {
		return fmt.Errorf("removing a staged overlay: %w", err)
	}
	return nil
}
