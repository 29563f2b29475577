package fetch

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkExtract takes a program the size of this test's out of a layer.
func BenchmarkExtract(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		b.Fatal(err)
	}
	plain := archive(b, "tink-agent "+string(text))
	out := filepath.Join(b.TempDir(), "out")
	for name, layer := range map[string][]byte{"plain": plain, "gzip": gzipped(b, plain), "zstd": zstandard(b, plain)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			im, m := inMemory(layer)
			for b.Loop() {
				if _, err := im.extract(b.Context(), m, agentPaths, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
