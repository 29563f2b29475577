// Package kept is the file with the configuration of a slot: a sealed overlay as it was fetched, and behind it what
// the machine knew when it was let in, with the overlay's file key, which the TPM has sealed (package attest/vault).
//
// The ciphertext comes first, so that what is to be written can be described when the ciphertext has passed once, and
// the rest is not known yet: see Sum. Nothing here has more of it in memory than a buffer.
//
// Nothing of the file is trusted. Open checks the manifest's signature anew; whoever reads the ciphertext gives it to
// attest/overlay/extract, which compares it with the manifest; what else is in the file is as good as the disk is, and
// is for people.
package kept

import (
	"errors"
	"io"
	"time"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/os/lkg/state"
)

// Config is what is behind the ciphertext.
type Config struct {
	Node     string        // the machine's name, protocol.NodeID
	Tier     protocol.Tier // how far the server trusted it
	Time     time.Time     // when the server let it in, by its clock; in whole seconds
	Manifest []byte        // signed
	Key      []byte        // the overlay's file key, sealed: a blob of attest/vault
}

// Sum is of a ciphertext that has been written to it, and becomes that of a file. It can be marshalled on the way.
type Sum struct{}

// NewSum is of no bytes.
func NewSum() *Sum { return &Sum{} }

// Write takes more of the ciphertext. It never fails.
func (s *Sum) Write(p []byte) (int, error) { return len(p), nil }

// MarshalBinary gives what UnmarshalBinary goes on with.
func (s *Sum) MarshalBinary() ([]byte, error) { return nil, errors.ErrUnsupported }

// UnmarshalBinary reads a Sum.
func (s *Sum) UnmarshalBinary(b []byte) error { return errors.ErrUnsupported }

// File describes the file with this ciphertext and c behind it. The error says that the manifest is of another
// ciphertext, or c not one that can be written.
func (s *Sum) File(c *Config) (state.Image, error) { return state.Image{}, errors.ErrUnsupported }

// Reader gives the file's bytes, and closes the ciphertext.
func Reader(ciphertext io.ReadCloser, c *Config) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}

// Peek reads what is behind the ciphertext, without asking who has signed the manifest.
func Peek(r io.ReaderAt, size int64) (*Config, error) { return nil, errors.ErrUnsupported }

// Open reads a file of size bytes, whose manifest one of the keys has signed. The ciphertext has as many bytes as the
// manifest says; whether they are the right ones is known when they have been read (extract.Stage).
func Open(r io.ReaderAt, size int64, keys ...manifest.Key) (*Config, *manifest.Manifest, *io.SectionReader, error) {
	return nil, nil, nil, errors.ErrUnsupported
}
