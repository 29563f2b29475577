package kept

import (
	"crypto/sha256"
	"errors"
	"hash"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/os/lkg/state"
)

// Sum is of a ciphertext that has been written to it, and becomes that of a file.
type Sum struct {
	hash hash.Hash
	size int64
}

// NewSum is of no bytes.
func NewSum() *Sum { return &Sum{hash: sha256.New()} }

// Write takes more of the ciphertext. It never fails.
func (s *Sum) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	return s.hash.Write(p)
}

// File describes the file with this ciphertext and c behind it; the Sum is of no use after that. The error says that
// the manifest is of another ciphertext, or c not one that can be written.
func (s *Sum) File(c *Config) (state.Image, error) {
	tail, m, err := c.encode()
	if err != nil {
		return state.Image{}, err
	}
	if m.Ciphertext.Size != s.size || m.Ciphertext.SHA256 != manifest.Digest(s.hash.Sum(nil)) {
		return state.Image{}, errors.New("describing the kept configuration: the ciphertext is not that of the manifest")
	}
	s.Write(tail)
	return state.Image{Size: s.size, SHA256: [sha256.Size]byte(s.hash.Sum(nil))}, nil
}
