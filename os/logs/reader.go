package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Units is the names of all units in the log, in alphabetical order.
func Units(dir string) ([]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for the log's units: %w", err)
	}
	var units []string
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), previous)
		if !strings.HasPrefix(name, ".") && !slices.Contains(units, name) {
			units = append(units, name)
		}
	}
	return units, nil
}

// Reader reads the lines of one unit, first those that are there and then those
// that follow. A file that is replaced twice between two calls of Next is missed.
type Reader struct {
	dir, unit string

	file *os.File // the newest lines; nil before the first call
	half []byte   // of a line that is not complete yet
}

// NewReader starts with the oldest line of a unit.
func NewReader(dir, unit string) *Reader { return &Reader{dir: dir, unit: unit} }

// Close ends reading.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// Next gives all lines since the last call, in their order.
func (r *Reader) Next() ([]Entry, error) {
	entries, err := r.next()
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s: %w", r.unit, err)
	}
	return entries, nil
}

func (r *Reader) next() ([]Entry, error) {
	path := filepath.Join(r.dir, r.unit)
	var entries []Entry
	for {
		if r.file == nil {
			older, newer, err := openBoth(path)
			if err != nil {
				return nil, err
			}
			if older != nil {
				err = r.read(older, &entries)
				r.half = nil
				if err = errors.Join(err, older.Close()); err != nil {
					return nil, err
				}
			}
			if r.file = newer; newer == nil {
				return entries, nil
			}
		}
		// Looked at before the rest is read: a file that was replaced gets no more.
		replaced, err := r.replaced(path)
		if err = errors.Join(err, r.read(r.file, &entries)); err != nil {
			return nil, err
		}
		if !replaced {
			return entries, nil
		}
		next, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) { // not yet
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		r.file.Close()
		r.file, r.half = next, nil
	}
}

// openBoth opens both of a unit's files, as far as they are there, and so that
// nothing is missed if they are being rotated. If there is one only, it is newer.
func openBoth(path string) (older, newer *os.File, err error) {
	for {
		newer, err = openIfThere(path)
		if err != nil {
			return nil, nil, err
		}
		older, err = openIfThere(path + previous)
		switch {
		case newer == nil:
			return nil, older, err
		case err != nil || older == nil || !sameFile(older, newer):
			return older, newer, err
		}
		older.Close()
		newer.Close()
	}
}

func openIfThere(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	y, err2 := b.Stat()
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// replaced tells whether the newest lines are in another file by now.
func (r *Reader) replaced(path string) (bool, error) {
	mine, err := r.file.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && !os.SameFile(mine, now), err
}

// read reads what there is in a file.
func (r *Reader) read(file *os.File, entries *[]Entry) error {
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	text = append(r.half, text...)
	r.half = nil
	for line := range bytes.Lines(text) {
		body, whole := bytes.CutSuffix(line, []byte("\n"))
		if !whole {
			r.half = slices.Clone(line)
		} else if e, ok := parse(string(body)); ok {
			e.Unit = r.unit
			*entries = append(*entries, e)
		}
	}
	return nil
}
