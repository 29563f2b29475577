// Package seal makes sealed overlays, and opens their header for the attestation server.
//
// An overlay is a tar archive, compressed with zstd, encrypted with age (age-encryption.org/v1) to the
// attestation server, and described by a signed manifest. The server never needs more than the header, which
// is in the first HeaderSize bytes: it hands the file key to a machine that it trusts, and any file server has
// the rest. But for age's keys and the time, which is the caller's, the same tree gives the same bytes.
package seal

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"
	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/klauspost/compress/zstd"
)

// HeaderSize is how much of a ciphertext is enough for FileKey, in bytes: a header for two servers' hybrid
// keys.
const HeaderSize = 4 << 10

// Seal writes an overlay to w. add writes the archive's entries. What is then known of the bytes is filled in
// in m: Ciphertext, ArchiveSize and Entries; the rest is the caller's.
func Seal(w io.Writer, recipients []age.Recipient, m *manifest.Manifest, add func(*archive.Writer) error) error {
	out := &meter{w: w, hash: sha256.New()}
	encrypted, err := age.Encrypt(out, recipients...)
	if err != nil {
		return fmt.Errorf("encrypting: %w", err)
	}
	if out.n > HeaderSize {
		return fmt.Errorf("encrypting: with %d recipients the header has more than %d bytes", len(recipients), HeaderSize)
	}
	// One goroutine, so that the same bytes come out.
	packed, err := zstd.NewWriter(encrypted, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(extract.MaxWindow),
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	plain := &meter{w: packed}
	tree := archive.NewWriter(plain)
	if err := add(tree); err != nil {
		return err
	}
	for _, end := range []io.Closer{tree, packed, encrypted} {
		if err := end.Close(); err != nil {
			return fmt.Errorf("writing the overlay: %w", err)
		}
	}
	m.Ciphertext = manifest.File{Size: out.n, SHA256: manifest.Digest(out.hash.Sum(nil))}
	m.ArchiveSize, m.Entries = plain.n, tree.Entries()
	return nil
}

// meter counts and hashes what is written.
type meter struct {
	w    io.Writer
	n    int64
	hash hash.Hash // nil if nobody wants it
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.n += int64(n)
	if m.hash != nil {
		m.hash.Write(p[:n])
	}
	return n, err
}

// FileKey gives the key that opens the ciphertext which begins with head, to one of the identities. head has
// HeaderSize bytes, or the whole file if that is shorter. The header's MAC is checked.
func FileKey(head []byte, identities ...age.Identity) ([]byte, error) {
	header, err := age.ExtractHeader(bytes.NewReader(head[:min(len(head), HeaderSize)]))
	if err != nil {
		return nil, fmt.Errorf("reading an overlay's header: %w", err)
	}
	key, err := age.DecryptHeader(header, identities...)
	if err != nil {
		return nil, fmt.Errorf("opening an overlay's header: %w", err)
	}
	return key, nil
}
