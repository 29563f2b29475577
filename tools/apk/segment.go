package apk

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
)

// segment is one gzip member with tar entries.
type segment struct {
	gzip *gzip.Writer
	tar  *tar.Writer
}

func newSegment(w io.Writer) *segment {
	z := gzip.NewWriter(w)
	return &segment{z, tar.NewWriter(z)}
}

// close ends the member; end says whether the tar stream ends with it.
func (s *segment) close(end bool) error {
	finish := s.tar.Flush
	if end {
		finish = s.tar.Close
	}
	return errors.Join(finish(), s.gzip.Close())
}

// file writes a metadata file of a package or an index.
func (s *segment) file(name string, data []byte, mtime time.Time) error {
	header := tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: mtime, Typeflag: tar.TypeReg}
	if err := s.tar.WriteHeader(&header); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if _, err := s.tar.Write(data); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
