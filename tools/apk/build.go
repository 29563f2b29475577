package apk

import (
	"archive/tar"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// PAX records of the data segment, as apk-tools and star name them.
const (
	checksumRecord = "APK-TOOLS.checksum.SHA1"
	xattrRecord    = "SCHILY.xattr."
)

// Spec is a package to be made.
type Spec struct {
	Info
	Contents []Content `json:"contents"`
}

// Build writes the package. Every time in it is mtime, in whole seconds.
func Build(w io.Writer, spec *Spec, key *Key, mtime time.Time) error {
	info := spec.Info
	info.BuildDate = mtime.Unix()
	if err := errors.Join(info.check(), info.checkOwn()); err != nil {
		return fmt.Errorf("building package: %w", err)
	}
	data, err := buildData(&info, spec.Contents, mtime)
	if err != nil {
		return fmt.Errorf("building package %s: %w", info.Name, err)
	}
	var control bytes.Buffer
	s := newSegment(&control)
	if err := errors.Join(s.file(".PKGINFO", info.pkginfo(), mtime), s.close(false)); err != nil {
		return fmt.Errorf("building package %s: %w", info.Name, err)
	}
	signature, err := key.sign(control.Bytes())
	if err != nil {
		return fmt.Errorf("building package %s: %w", info.Name, err)
	}
	for _, member := range [][]byte{signature, control.Bytes(), data} {
		if _, err := w.Write(member); err != nil {
			return fmt.Errorf("writing package %s: %w", info.Name, err)
		}
	}
	return nil
}

// buildData gives the data member and sets the size and hash in info.
func buildData(info *Info, contents []Content, mtime time.Time) ([]byte, error) {
	t := tree{}
	for i := range contents {
		if err := t.add(&contents[i]); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.addParents(), t.linkHard()); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	s := newSegment(&b)
	for _, name := range slices.Sorted(maps.Keys(t)) {
		size, err := s.item(t[name], mtime)
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
		info.Size += size
	}
	if err := s.close(true); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b.Bytes())
	info.DataHash = hex.EncodeToString(sum[:])
	return b.Bytes(), nil
}

// item writes an entry with the checksum that apk wants: the SHA-1 of a file's
// data or of a symbolic link's target.
func (s *segment) item(it *item, mtime time.Time) (int64, error) {
	h := it.header
	h.ModTime = mtime
	h.Format = tar.FormatPAX
	var data []byte
	switch h.Typeflag {
	case tar.TypeReg:
		var err error
		if data, err = it.data(); err != nil {
			return 0, err
		}
		h.Size = int64(len(data))
		h.PAXRecords = withChecksum(h.PAXRecords, data)
	case tar.TypeSymlink:
		h.PAXRecords = withChecksum(h.PAXRecords, []byte(h.Linkname))
	case tar.TypeDir:
		h.Name += "/"
	}
	if err := s.tar.WriteHeader(&h); err != nil {
		return 0, err
	}
	_, err := s.tar.Write(data)
	return h.Size, err
}

func withChecksum(records map[string]string, data []byte) map[string]string {
	all := map[string]string{checksumRecord: fmt.Sprintf("%x", sha1.Sum(data))}
	maps.Copy(all, records)
	return all
}
