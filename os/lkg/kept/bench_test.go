package kept_test

import (
	"crypto/sha256"
	"io"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/os/lkg/kept"
)

// zeros is a ciphertext of some size.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// BenchmarkFile describes a file of 64 MiB and reads it; the memory does not depend on the size.
func BenchmarkFile(b *testing.B) {
	const size = 64 << 20
	s := kept.NewSum()
	if _, err := io.Copy(s, io.LimitReader(zeros{}, size)); err != nil {
		b.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(zeros{}, size)); err != nil {
		b.Fatal(err)
	}
	private, _ := signer('k')
	signed, err := manifest.Sign(&manifest.Manifest{
		Format: manifest.Format, Name: "rack", Version: 1, Created: time.Unix(0, 0).UTC(), ArchiveSize: 1, Entries: 1,
		Ciphertext: manifest.File{Size: size, SHA256: [32]byte(h.Sum(nil))},
	}, private)
	if err != nil {
		b.Fatal(err)
	}
	c := describe(b, []byte("another"), nil)
	c.Manifest = signed
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		s := kept.NewSum()
		if _, err := io.Copy(s, io.LimitReader(zeros{}, size)); err != nil {
			b.Fatal(err)
		}
		image, err := s.File(c)
		if err != nil {
			b.Fatal(err)
		}
		r, err := kept.Reader(io.NopCloser(io.LimitReader(zeros{}, size)), c)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); n != image.Size || err != nil {
			b.Fatal(n, err)
		}
	}
}
