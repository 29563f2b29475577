// Package extract applies a sealed overlay to a machine: Stage reads the ciphertext once, checks it to its
// last byte and keeps the files apart; Commit then moves them into the root. Nothing of an overlay is applied
// of which anything is wrong.
//
// An error of Stage leaves the machine as it was. An error of Commit, once it has begun to write, does not:
// the machine restarts. A machine's root is in memory, so that the next boot begins without what was written;
// where a part of it is on a disk, the next Commit writes the whole overlay again.
//
// Memory, besides that of the files, is bounded whatever the ciphertext says: a zstd window of 8 MiB, of which
// the decoder has up to two, 32 MiB for paths, 65,536 entries and some buffers: 64 MiB in all, and up to twice
// that until Go collects what is no longer used. One large file takes 21 MiB, 65,000 small ones 47 MiB.
// Not for PID 1.
package extract

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"
	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/klauspost/compress/zstd"
)

const (
	// MaxWindow is the largest zstd window, in bytes.
	MaxWindow = 8 << 20
	// FileKeySize is the size of age's file key, in bytes.
	FileKeySize = 16
)

// Open gives the identity that opens one overlay with the file key that the attestation server has handed
// out.
func Open(fileKey []byte) (age.Identity, error) {
	if len(fileKey) != FileKeySize {
		return nil, fmt.Errorf("the overlay's file key has %d bytes, not %d", len(fileKey), FileKeySize)
	}
	return age.NewInjectedFileKeyIdentity(fileKey), nil
}

// Read reads an overlay whose manifest m is trusted and gives each of its entries to do, with the content of
// a file. do must keep what it gets apart until Read has returned without an error: only then are the bytes
// known to be those that the manifest is about. Nothing is read behind them but one byte.
func Read(ciphertext io.Reader, key age.Identity, m *manifest.Manifest, do func(archive.Entry, io.Reader) error) error {
	err := read(ciphertext, key, m, do)
	if err != nil {
		return fmt.Errorf("reading overlay %s: %w", m, err)
	}
	return nil
}

func read(ciphertext io.Reader, key age.Identity, m *manifest.Manifest, do func(archive.Entry, io.Reader) error) error {
	in := &counter{in: ciphertext, left: m.Ciphertext.Size, hash: sha256.New()}
	plain, err := age.Decrypt(in, key)
	if err != nil {
		return in.explain(fmt.Errorf("opening the ciphertext: %w", err))
	}
	unpacked, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(MaxWindow))
	if err != nil {
		return in.explain(fmt.Errorf("unpacking the archive: %w", err))
	}
	defer unpacked.Close()
	tree := archive.NewReader(unpacked, m.ArchiveSize)
	for {
		e, err := tree.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return in.explain(err)
		}
		if tree.Entries() > m.Entries {
			return fmt.Errorf("the archive has more entries than the %d that the manifest says", m.Entries)
		}
		if err := do(e, tree); err != nil {
			return in.explain(err)
		}
	}
	if tree.Entries() != m.Entries {
		return fmt.Errorf("the archive has %d entries, and the manifest says %d", tree.Entries(), m.Entries)
	}
	// The archive has read to the end of the plain text, and age to the end of its last chunk.
	if n, err := io.Copy(io.Discard, plain); err != nil || n > 0 {
		return in.explain(errors.Join(err, fmt.Errorf("%d bytes follow the archive", n)))
	}
	return in.verify(m.Ciphertext)
}

// counter reads the ciphertext, counts it and hashes it.
type counter struct {
	in   io.Reader
	left int64
	hash hash.Hash
	err  error // the first but io.EOF
}

var errLong = errors.New("the ciphertext has more bytes than the manifest says")

func (c *counter) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left+1)])
	c.hash.Write(p[:n])
	if c.left -= int64(n); c.left < 0 {
		n, err = 0, errLong
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// explain prefers what went wrong in reading the ciphertext to what that has led to.
func (c *counter) explain(err error) error {
	if c.err != nil {
		return c.err
	}
	return err
}

func (c *counter) verify(want manifest.File) error {
	if c.left > 0 {
		return fmt.Errorf("the ciphertext has %d bytes less than the manifest says", c.left)
	}
	if manifest.Digest(c.hash.Sum(nil)) != want.SHA256 {
		return errors.New("the ciphertext's SHA-256 is not that of the manifest")
	}
	return nil
}
