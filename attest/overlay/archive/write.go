package archive

import (
	"archive/tar"
	"fmt"
	"io"
	"time"
)

// Writer writes an archive. The same entries give the same bytes.
type Writer struct {
	tar   *tar.Writer
	rules *rules
}

// NewWriter writes an archive to w.
func NewWriter(w io.Writer) *Writer { return &Writer{tar.NewWriter(w), newRules()} }

// Add writes the next entry. content is that of a file.
func (w *Writer) Add(e Entry, content io.Reader) error {
	if err := w.rules.add(e); err != nil {
		return err
	}
	h := &tar.Header{Name: e.Path, Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID, ModTime: time.Unix(0, 0)}
	switch e.Kind {
	case File:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
	case Directory:
		h.Typeflag, h.Name = tar.TypeDir, e.Path+"/"
	case Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
	}
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("writing %q: %w", e.Path, err)
	}
	if e.Kind != File {
		return nil
	}
	// One byte more is a file that has grown.
	if n, err := io.Copy(w.tar, io.LimitReader(content, e.Size+1)); err != nil {
		return fmt.Errorf("writing %q: %w", e.Path, err)
	} else if n != e.Size {
		return fmt.Errorf("writing %q: it has not %d bytes any more", e.Path, e.Size)
	}
	return nil
}

// Entries is the number of entries so far.
func (w *Writer) Entries() int { return w.rules.entries }

// Close ends the archive.
func (w *Writer) Close() error { return w.tar.Close() }
