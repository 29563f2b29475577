package layout

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Layer is one layer of an image.
type Layer struct {
	blob       string
	descriptor descriptor
	diffID     digest
}

// decompressors by media type, OCI's and Docker's.
var decompressors = map[string]func(io.Reader) (io.ReadCloser, error){
	"application/vnd.oci.image.layer.v1.tar":            plain,
	"application/vnd.oci.image.layer.v1.tar+gzip":       gunzip,
	"application/vnd.oci.image.layer.v1.tar+zstd":       unzstd,
	"application/vnd.docker.image.rootfs.diff.tar":      plain,
	"application/vnd.docker.image.rootfs.diff.tar.gzip": gunzip,
	"application/vnd.docker.image.rootfs.diff.tar.zstd": unzstd,
}

func plain(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil }

func gunzip(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }

func unzstd(r io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// Read calls use with the unpacked layer, a tar stream, and then checks the
// digests of the layer, packed and unpacked. Until Read returns nil, what use
// saw is not trustworthy.
func (l *Layer) Read(use func(io.Reader) error) error {
	if err := l.read(use); err != nil {
		return fmt.Errorf("reading layer %s: %w", l.descriptor.Digest, err)
	}
	return nil
}

func (l *Layer) read(use func(io.Reader) error) error {
	decompress, ok := decompressors[l.descriptor.MediaType]
	if !ok {
		return fmt.Errorf("unknown media type %q", l.descriptor.MediaType)
	}
	f, err := os.Open(l.blob)
	if err != nil {
		return err
	}
	defer f.Close()
	packed, unpacked := sha256.New(), sha256.New()
	blob := io.TeeReader(f, packed)
	z, err := decompress(blob)
	if err != nil {
		return err
	}
	defer z.Close()
	tar := io.TeeReader(z, unpacked)
	if err := use(tar); err != nil {
		return err
	}
	for _, rest := range []io.Reader{tar, blob} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return err
		}
	}
	if info, err := f.Stat(); err != nil {
		return err
	} else if info.Size() != l.descriptor.Size {
		return fmt.Errorf("it has %d bytes where the manifest says %d", info.Size(), l.descriptor.Size)
	}
	if got := digestOf(packed.Sum(nil)); got != l.descriptor.Digest {
		return fmt.Errorf("its digest is %s", got)
	}
	if got := digestOf(unpacked.Sum(nil)); got != l.diffID {
		return fmt.Errorf("unpacked its digest is %s where the configuration says %s", got, l.diffID)
	}
	return nil
}
