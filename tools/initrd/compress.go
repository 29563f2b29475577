package initrd

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// DefaultWindow is how far back, in bytes, a compressed archive refers. The
// kernel needs as much memory to unpack it; zstd is told to use the same.
const DefaultWindow = 32 << 20

// alignment is where the kernel sees an archive that is not compressed.
const alignment = 4

// Compress writes an archive as one zstd frame with a checksum. The window, in
// bytes, is a power of two from 1 KiB to 128 MiB, the kernel's limit.
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
	if _, err := w.Write(z.EncodeAll(archive, nil)); err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	return nil
}

// Join writes archives one after the other as the kernel unpacks them. One that
// is not compressed begins at a multiple of four, with zero bytes before it; no
// others are added, since zstd's own tools do not pass over them.
func Join(w io.Writer, archives ...[]byte) error {
	length := 0
	for _, a := range archives {
		if len(a) > 0 && a[0] == '0' {
			a = append(make([]byte, -length&(alignment-1)), a...)
		}
		if _, err := w.Write(a); err != nil {
			return fmt.Errorf("joining archives: %w", err)
		}
		length += len(a)
	}
	return nil
}
