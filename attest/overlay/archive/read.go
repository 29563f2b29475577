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
	in    *limited
	tail  *Tail
	rules *rules
}

// NewReader reads an archive from in, which has size bytes.
func NewReader(in io.Reader, size int64) *Reader {
	r := &Reader{in: &limited{in, size}, tail: new(Tail), rules: newRules()}
	r.tar = tar.NewReader(io.TeeReader(r.in, r.tail))
	return r
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
	e, err := FromHeader(h)
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
	if !r.tail.Ended() {
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

// limited reads up to left bytes. One byte more is an error.
type limited struct {
	in   io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if l.left == 0 {
		var one [1]byte
		if _, err := io.ReadFull(l.in, one[:]); err != nil {
			return 0, err
		}
		return 0, errors.New("it has more bytes than the manifest says")
	}
	n, err := l.in.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// Tail remembers the last two blocks of the archive that is written to it.
type Tail struct{ last []byte }

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	const most = 2 * blockSize
	n := len(p)
	p = p[max(0, n-most):]
	over := max(0, len(t.last)+len(p)-most)
	t.last = append(append(t.last[:0], t.last[over:]...), p...)
	return n, nil
}

// Ended tells whether the archive's end is marked.
func (t *Tail) Ended() bool {
	return len(t.last) == 2*blockSize && len(bytes.Trim(t.last, "\x00")) == 0
}
