package extract

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/overlay/archive"
)

// large makes an overlay of a large program and many small files, half of which can be compressed.
func large(b *testing.B) sealed {
	var plain bytes.Buffer
	w := archive.NewWriter(&plain)
	add := func(path string, content []byte) {
		if err := w.Add(archive.Entry{Path: path, Mode: 0o644, Size: int64(len(content))}, bytes.NewReader(content)); err != nil {
			b.Fatal(err)
		}
	}
	add("usr/local/bin/program", noise(32<<20))
	add("var/lib/images/one.tar", []byte(strings.Repeat("layers of an image are much alike\n", 1<<20)))
	for i := range 1000 {
		add(fmt.Sprintf("etc/conf.d/%d", i), fmt.Appendf(nil, "number=%d\n", i))
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return seal(b, plain.Bytes(), 1002)
}

// BenchmarkStage tells the speed in bytes of the archive.
func BenchmarkStage(b *testing.B) {
	s := large(b)
	dir := b.TempDir()
	b.SetBytes(s.manifest.ArchiveSize)
	for b.Loop() {
		staged, err := s.stage(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := staged.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkRead reads a long archive of few entries and tells how much memory that took from the system.
func BenchmarkRead(b *testing.B) {
	s := large(b)
	b.SetBytes(s.manifest.ArchiveSize)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		if err := Read(bytes.NewReader(s.ciphertext), s.key, s.manifest, func(_ archive.Entry, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/(1<<20), "MiB-heap")
}
