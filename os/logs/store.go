package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Limit is how many bytes of a unit's lines are kept, by default.
const Limit = 1 << 20

// previous is behind the name of a file with older lines.
const previous = ".1"

// broken ends a line that is half written. It is no UTF-8, so that readers pass over
// the line.
const broken = "\xff\n"

// Store is the log for its one writer. A line that is half written, for want of room
// or because a writer crashed, is not completed: readers pass over it. It is not taken
// back either, since a reader may have got it.
type Store struct {
	dir   string
	limit int64

	mu    sync.Mutex
	files map[string]*file
}

// file is the newest lines of a unit.
type file struct {
	*os.File
	size int64
	half bool // it ends with half a line
}

// NewStore makes the directory. Each unit's lines may take limit bytes.
func NewStore(dir string, limit int64) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the log's directory: %w", err)
	}
	return &Store{dir: dir, limit: limit, files: map[string]*file{}}, nil
}

// Append writes an entry at the end of its unit's lines.
func (s *Store) Append(e Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.open(e.Unit)
	line := e.format()
	if err == nil && f.size > 0 && f.size+int64(len(line)) > s.limit/2 {
		f, err = s.rotate(e.Unit)
	}
	if err == nil {
		err = f.write(line)
	}
	if err != nil {
		return fmt.Errorf("storing a line of %s: %w", e.Unit, err)
	}
	return nil
}

// write writes a line, behind the end of one that is half written.
func (f *file) write(line string) error {
	if f.half {
		line = broken + line
	}
	n, err := f.WriteString(line)
	f.size += int64(n)
	if n > 0 {
		f.half = err != nil
	}
	return err
}

// open opens a unit's file, once.
func (s *Store) open(unit string) (*file, error) {
	if f := s.files[unit]; f != nil {
		return f, nil
	}
	opened, err := os.OpenFile(filepath.Join(s.dir, unit), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, err
	}
	f := &file{File: opened}
	if err := f.look(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.files[unit] = f
	return f, nil
}

// look finds out what an earlier writer left.
func (f *file) look() error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	f.size = info.Size()
	last := make([]byte, 1)
	_, err = f.ReadAt(last, f.size-1)
	f.half = last[0] != '\n'
	return err
}

// rotate starts a new file for a unit.
func (s *Store) rotate(unit string) (*file, error) {
	path := filepath.Join(s.dir, unit)
	if err := os.Rename(path, path+previous); err != nil {
		return nil, err
	}
	err := s.files[unit].Close()
	delete(s.files, unit)
	if err != nil {
		return nil, err
	}
	return s.open(unit)
}
