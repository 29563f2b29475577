package slot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/ember-os/ember/os/lkg/state"
)

const (
	head  = 512     // bytes of a file that are written last: a sector
	chunk = 1 << 20 // bytes at a time
)

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
