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
	"strings"

	"github.com/klauspost/compress/gzip"
)

// maxControl is the most a control segment may unpack to.
const maxControl = 8 << 20

// Package is a finished package, as an index lists it.
type Package struct {
	Info
	Control [sha1.Size]byte // SHA-1 of the control member
	Length  int64           // bytes of the package file
}

// FileName is the name under which a repository holds the package.
func (p *Package) FileName() string { return p.Name + "-" + p.Version + ".apk" }

// Read reads a package, ours or another's, and checks the hash of its data. It
// does not check signatures: what it is given is pinned by other means.
func Read(data []byte) (*Package, error) {
	rest := data
	entries, member, rest, err := nextMember(rest)
	if err != nil {
		return nil, fmt.Errorf("reading package: %w", err)
	}
	if isSignature(entries) {
		if entries, member, rest, err = nextMember(rest); err != nil {
			return nil, fmt.Errorf("reading package: %w", err)
		}
	}
	text, ok := entries[".PKGINFO"]
	if !ok {
		return nil, errors.New("reading package: it has no .PKGINFO")
	}
	info, err := parsePkginfo(string(text))
	if err != nil {
		return nil, fmt.Errorf("reading package: %w", err)
	}
	if err := info.check(); err != nil {
		return nil, fmt.Errorf("reading package: %w", err)
	}
	if sum := sha256.Sum256(rest); info.DataHash != hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("reading package %s: its data has hash %x where .PKGINFO says %q", info.Name, sum, info.DataHash)
	}
	return &Package{info, sha1.Sum(member), int64(len(data))}, nil
}

func isSignature(entries map[string][]byte) bool {
	for name := range entries {
		if strings.HasPrefix(name, ".SIGN.") {
			return true
		}
	}
	return false
}

// nextMember splits the first gzip member off and gives the files in it.
func nextMember(data []byte) (entries map[string][]byte, member, rest []byte, err error) {
	r := bytes.NewReader(data)
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, nil, nil, err
	}
	z.Multistream(false)
	unpacked, err := io.ReadAll(io.LimitReader(z, maxControl+1))
	if err != nil {
		return nil, nil, nil, err
	}
	if len(unpacked) > maxControl {
		return nil, nil, nil, fmt.Errorf("its control segment is larger than %d bytes", maxControl)
	}
	end := len(data) - r.Len()
	entries = map[string][]byte{}
	for t := tar.NewReader(bytes.NewReader(unpacked)); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return entries, data[:end], data[end:], nil
		}
		if err != nil {
			return nil, nil, nil, err
		}
		if entries[h.Name], err = io.ReadAll(t); err != nil {
			return nil, nil, nil, err
		}
	}
}
