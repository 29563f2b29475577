package fetch

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip" // half as fast again as the standard library's
	"github.com/klauspost/compress/zstd"
)

// The limits of an image, which protect the machine from one that was made to harm it
// and from one that was named by mistake.
const (
	entryLimit   = 1 << 19  // files and directories
	nameLimit    = 64 << 20 // bytes of all their names
	unpackLimit  = 8 << 30  // bytes of all its layers, unpacked
	windowLimit  = 128 << 20
	programLimit = 512 << 20 // bytes of the program
)

// chunk is how much is read from containerd, and written, at once: each time costs a message and its
// answer, or a system call.
const chunk = 1 << 20

// kind is what a path is.
type kind int

const (
	directory kind = iota
	file
	symlink
	hardlink
	other
)

// entry is what a layer has at a path.
type entry struct {
	kind   kind
	layer  int    // counted from the top
	number int    // of the entry in its layer
	target string // of a link; a hard link's is cleaned
}

// layer is what one layer says, by paths as clean makes them.
type layer struct {
	entries map[string]entry
	gone    map[string]bool // whiteouts: the path and all below it in the layers underneath
	opaque  map[string]bool // opaque directories: all below the path in the layers underneath
}

// clean gives a path within the image, without a leading slash; "" for its root.
func clean(name string) string { return path.Clean("/" + name)[1:] }

// hides tells whether l hides name in the layers underneath.
func (l *layer) hides(name string) bool {
	if l.gone[name] || l.opaque[""] {
		return true
	}
	for dir := parent(name); dir != ""; dir = parent(dir) {
		if l.gone[dir] || l.opaque[dir] {
			return true
		}
		if e, ok := l.entries[dir]; ok && e.kind != directory {
			return true
		}
	}
	return false
}

func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// The names of whiteouts, of the OCI image specification's layers.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// add takes an entry of the tar archive into l.
func (l *layer) add(h *tar.Header, index, number int) (name string, e entry) {
	name = clean(h.Name)
	dir, base := parent(name), path.Base(name)
	switch {
	case name == "":
		return name, e
	case base == opaque:
		l.opaque[dir] = true
		return "", e
	case strings.HasPrefix(base, whiteout+whiteout): // of AUFS, for its own use
		return "", e
	case strings.HasPrefix(base, whiteout):
		l.gone[clean(path.Join(dir, strings.TrimPrefix(base, whiteout)))] = true
		return "", e
	}
	e = entry{kind: other, layer: index, number: number}
	switch h.Typeflag {
	case tar.TypeReg:
		e.kind = file
	case tar.TypeDir:
		e.kind = directory
	case tar.TypeSymlink:
		e.kind, e.target = symlink, h.Linkname
	case tar.TypeLink:
		e.kind, e.target = hardlink, clean(h.Linkname)
	}
	l.entries[name] = e
	return name, e
}

// budget is what is left of the limits.
type budget struct{ entries, names, bytes int64 }

func (b *budget) take(h *tar.Header) error {
	b.entries--
	b.names -= int64(len(h.Name) + len(h.Linkname))
	if b.entries < 0 || b.names < 0 {
		return notImage(fmt.Sprintf("it has more than %d files", entryLimit))
	}
	return nil
}

// limited reads from r what the budget has left.
func (b *budget) limited(r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if b.bytes <= 0 {
			return 0, notImage(fmt.Sprintf("it has more than %d GB", unpackLimit>>30))
		}
		n, err := r.Read(p[:min(int64(len(p)), b.bytes)])
		b.bytes -= int64(n)
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// decompress reads a tar archive that may be packed with gzip or zstd. What it is
// shows in its first bytes, because media types lie.
func decompress(r io.Reader) (io.Reader, func(), error) {
	b := bufio.NewReaderSize(r, chunk)
	start, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, damaged(err)
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, damaged(err)
		}
		return z, func() { z.Close() }, nil
	case bytes.Equal(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(windowLimit), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, damaged(err)
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}

// damaged is an error of reading a layer. One of the store it comes from remains
// what it is.
func damaged(err error) error {
	if e, ok := errors.AsType[readError](err); ok {
		return e.error
	}
	if e, ok := errors.AsType[notImageError](err); ok {
		return e
	}
	return notImage("a layer of it cannot be read: " + err.Error())
}
