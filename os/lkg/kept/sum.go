package kept

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/os/lkg/state"
)

// Sum is of a ciphertext that has been written to it, and becomes that of a file. It can be marshalled on the way, for
// another process: what is to be kept is known later than the ciphertext passes.
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

// MarshalBinary gives what UnmarshalBinary goes on with.
func (s *Sum) MarshalBinary() ([]byte, error) {
	b := binary.LittleEndian.AppendUint64(nil, uint64(s.size))
	return s.hash.(encoding.BinaryAppender).AppendBinary(b)
}

// UnmarshalBinary reads a Sum.
func (s *Sum) UnmarshalBinary(b []byte) error {
	if len(b) < 8 || int64(binary.LittleEndian.Uint64(b)) < 0 {
		return errors.New("reading the sum of a ciphertext: it is cut short")
	}
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(b[8:]); err != nil {
		return fmt.Errorf("reading the sum of a ciphertext: %w", err)
	}
	s.hash, s.size = h, int64(binary.LittleEndian.Uint64(b))
	return nil
}

// File describes the file with this ciphertext and c behind it. The error says that the manifest is of another
// ciphertext, or c not one that can be written. The Sum stays as it is.
func (s *Sum) File(c *Config) (state.Image, error) {
	tail, m, err := c.encode()
	if err != nil {
		return state.Image{}, err
	}
	if m.Ciphertext.Size != s.size || m.Ciphertext.SHA256 != manifest.Digest(s.hash.Sum(nil)) {
		return state.Image{}, errors.New("describing the kept configuration: the ciphertext is not that of the manifest")
	}
	text, err := s.MarshalBinary()
	if err != nil {
		return state.Image{}, err
	}
	all := NewSum()
	if err := all.UnmarshalBinary(text); err != nil {
		return state.Image{}, err
	}
	all.Write(tail)
	return state.Image{Size: all.size, SHA256: [32]byte(all.hash.Sum(nil))}, nil
}
