package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// blockSize is tar's. The archive ends with two blocks of zeros.
const blockSize = 512

// Reader reads an archive and checks it as it goes.
type Reader struct {
	tar   *tar.Reader
	in    *tail
	rules *rules
}

// NewReader reads an archive from in, which has size bytes.
func NewReader(in io.Reader, size int64) *Reader {
	t := &tail{in: in, left: size}
	return &Reader{tar.NewReader(t), t, newRules()}
}

// Next gives the next entry, whose content is then Read. After the last one it makes sure that the archive is
// whole and that nothing follows it, and gives io.EOF.
func (r *Reader) Next() (Entry, error) {
	h, err := r.tar.Next()
	if errors.Is(err, io.EOF) {
		return Entry{}, r.end()
	} else if err != nil {
		return Entry{}, fmt.Errorf("reading the archive: %w", err)
	}
	e, err := entry(h)
	if err == nil {
		err = r.rules.add(e)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("the archive is refused: %w", err)
	}
	return e, nil
}

// Read reads the content of the entry.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.tar.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("reading the archive: %w", err)
	}
	return n, err
}

// Entries is the number of entries so far.
func (r *Reader) Entries() int { return r.rules.entries }

func (r *Reader) end() error {
	if !r.in.zeros() {
		return errors.New("reading the archive: it is cut off: its end is not marked")
	}
	switch n, err := io.Copy(io.Discard, r.in); {
	case err != nil:
		return fmt.Errorf("reading the archive: %w", err)
	case n > 0:
		return errors.New("reading the archive: something follows its end")
	case r.in.left > 0:
		return fmt.Errorf("reading the archive: it has %d bytes less than the manifest says", r.in.left)
	}
	return io.EOF
}

// tail reads up to left bytes and remembers the last two blocks. One byte more is an error.
type tail struct {
	in   io.Reader
	left int64
	last []byte
}

func (t *tail) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if t.left == 0 {
		var one [1]byte
		if _, err := io.ReadFull(t.in, one[:]); err != nil {
			return 0, err
		}
		return 0, errors.New("it has more bytes than the manifest says")
	}
	n, err := t.in.Read(p[:min(int64(len(p)), t.left)])
	t.left -= int64(n)
	t.keep(p[:n])
	return n, err
}

func (t *tail) keep(p []byte) {
	const most = 2 * blockSize
	if len(p) >= most {
		t.last = append(t.last[:0], p[len(p)-most:]...)
		return
	}
	if over := len(t.last) + len(p) - most; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	t.last = append(t.last, p...)
}

func (t *tail) zeros() bool {
	return len(t.last) == 2*blockSize && len(bytes.Trim(t.last, "\x00")) == 0
}
