package fetch

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

const hopLimit = 40 // links to a file, as the kernel has it

// search finds files in an image by reading its layers from the top, and only those
// that it must. A path in it means what it would mean in a container, with one
// exception: an entry below a directory that is a symbolic link in a layer underneath
// is found where its own layer has it.
type search struct {
	count  int                                // of layers
	open   func(i int) (io.ReadCloser, error) // the packed layer i, from the top
	wanted []string                           // cleaned; the first is preferred
	spool  func() (*os.File, error)           // makes a file
	layers []layer                            // those that were read
	left   budget

	// spooled is a file that was wanted, as it came by: most often it is the one.
	spooled     *os.File
	spooledFrom entry
	rank        int // in wanted; of spooled
}

func newSearch(count int, open func(int) (io.ReadCloser, error), wanted []string, spool func() (*os.File, error)) *search {
	return &search{count: count, open: open, wanted: wanted, spool: spool, left: budget{entryLimit, nameLimit, unpackLimit}}
}

// find gives the first wanted path that is a file, and what it leads to.
func (s *search) find() (name string, e entry, err error) {
	for _, name := range s.wanted {
		e, ok, err := s.resolve(name)
		if err != nil || ok {
			return name, e, err
		}
	}
	return "", entry{}, nil
}

// resolve follows links to a file.
func (s *search) resolve(name string) (entry, bool, error) {
	for range hopLimit {
		e, ok, err := s.lookup(name, 0)
		if err != nil {
			return entry{}, false, err
		}
		if !ok {
			if name, ok, err = s.throughLinkedParent(name); err != nil || !ok {
				return entry{}, false, err
			}
			continue
		}
		switch e.kind {
		case file:
			return e, true, nil
		case hardlink:
			return s.followHard(e)
		case symlink:
			name = follow(name, e.target)
		default:
			return entry{}, false, nil
		}
	}
	return entry{}, false, nil
}

// followHard follows hard links, whose targets are in the same layer or underneath.
func (s *search) followHard(e entry) (entry, bool, error) {
	for range hopLimit {
		target, ok, err := s.lookup(e.target, e.layer)
		if err != nil || !ok {
			return entry{}, false, err
		}
		if target.kind != hardlink {
			return target, target.kind == file, nil
		}
		e = target
	}
	return entry{}, false, nil
}

func follow(name, target string) string {
	if strings.HasPrefix(target, "/") {
		return clean(target)
	}
	return clean(path.Join(parent(name), target))
}

// throughLinkedParent is name with the first symbolic link in its directory followed.
func (s *search) throughLinkedParent(name string) (string, bool, error) {
	for i, c := range name {
		if c != '/' {
			continue
		}
		e, ok, err := s.lookup(name[:i], 0)
		if err != nil {
			return "", false, err
		}
		if ok && e.kind == symlink {
			return clean(path.Join(follow(name[:i], e.target), name[i:])), true, nil
		}
	}
	return "", false, nil
}

// lookup gives what the image has at name in layer first and those underneath.
func (s *search) lookup(name string, first int) (entry, bool, error) {
	for i := first; i < s.count; i++ {
		if i == len(s.layers) {
			if err := s.scan(i); err != nil {
				return entry{}, false, err
			}
		}
		l := &s.layers[i]
		if e, ok := l.entries[name]; ok {
			return e, true, nil
		}
		if l.hides(name) {
			break
		}
	}
	return entry{}, false, nil
}

// scan reads layer i, which is the next.
func (s *search) scan(i int) error {
	l := layer{map[string]entry{}, map[string]bool{}, map[string]bool{}}
	err := s.walk(i, func(h *tar.Header, number int, r io.Reader) error {
		if err := s.left.take(h); err != nil {
			return err
		}
		name, e := l.add(h, i, number)
		rank := slices.Index(s.wanted, name)
		if e.kind != file || rank < 0 || s.spooled != nil && (rank > s.rank || rank == s.rank && s.spooledFrom.layer != i) {
			return nil
		}
		s.spooledFrom, s.rank = e, rank
		return s.write(r, h.Size)
	})
	s.layers = append(s.layers, l)
	return err
}

// walk calls f for each entry of layer i.
func (s *search) walk(i int, f func(h *tar.Header, number int, r io.Reader) error) error {
	packed, err := s.open(i)
	if err != nil {
		return err
	}
	defer packed.Close()
	r, end, err := decompress(marked{packed})
	if err != nil {
		return err
	}
	defer end()
	archive := tar.NewReader(s.left.limited(r))
	for number := 0; ; number++ {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return damaged(err)
		}
		if err := f(h, number, archive); err != nil {
			return err
		}
	}
}

// program is the file of an entry.
func (s *search) program(e entry) (*os.File, error) {
	if s.spooled != nil && e == s.spooledFrom {
		return s.spooled, nil
	}
	s.left.bytes = unpackLimit // read once more
	errFound := errors.New("found")
	err := s.walk(e.layer, func(h *tar.Header, number int, r io.Reader) error {
		if number != e.number {
			return nil
		}
		if err := s.write(r, h.Size); err != nil {
			return err
		}
		return errFound
	})
	if err == nil {
		return nil, notImage("a layer of it changed while it was read")
	}
	if err != errFound {
		return nil, err
	}
	return s.spooled, nil
}

// write writes a file of the image to the spooled one.
func (s *search) write(r io.Reader, size int64) error {
	if size > programLimit {
		return notImage(fmt.Sprintf("the program in it has %d MB", size/1e6))
	}
	if s.spooled == nil {
		f, err := s.spool()
		if err != nil {
			return err
		}
		s.spooled = f
	}
	if err := s.spooled.Truncate(0); err != nil {
		return err
	}
	w := bufio.NewWriterSize(io.NewOffsetWriter(s.spooled, 0), chunk)
	_, err := w.ReadFrom(marked{r})
	if err == nil {
		err = w.Flush()
	}
	if e, ok := errors.AsType[readError](err); ok {
		return damaged(e.error)
	}
	return err
}

// marked marks the errors of a reader, to tell them from those of what it feeds.
type marked struct{ r io.Reader }

type readError struct{ error }

func (m marked) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if err != nil && err != io.EOF {
		err = readError{err}
	}
	return n, err
}
