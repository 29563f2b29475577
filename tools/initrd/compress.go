package initrd

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// DefaultWindow is how far back, in bytes, a compressed archive refers. The
// kernel needs as much memory to unpack it; zstd -19 uses the same.
const DefaultWindow = 8 << 20

// alignment is where the kernel looks for the next archive.
const alignment = 4

// Compress writes an archive as one zstd frame with a checksum, followed by
// zero bytes up to a multiple of four. The window, in bytes, is a power of two
// from 1 KiB to 128 MiB, the kernel's limit.
func Compress(w io.Writer, archive []byte, window int) error {
	if window > 128<<20 {
		return fmt.Errorf("compressing: the kernel takes no window over 128 MiB, not %d bytes", window)
	}
	z, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedBestCompression),
		zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(window),
		zstd.WithEncoderCRC(true))
	if err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	frame := z.EncodeAll(archive, nil)
	return Join(w, frame)
}

// Join writes archives, compressed or not, one after the other as a kernel
// takes them: each begins at a multiple of four.
func Join(w io.Writer, archives ...[]byte) error {
	for _, a := range archives {
		padding := make([]byte, -len(a)&(alignment-1))
		for _, b := range [][]byte{a, padding} {
			if _, err := w.Write(b); err != nil {
				return fmt.Errorf("writing initrd: %w", err)
			}
		}
	}
	return nil
}
