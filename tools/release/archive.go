package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// archive writes files of dir as a tar archive, flat, with nothing of who made them and when.
func archive(w io.Writer, dir string, names ...string) error {
	t := tar.NewWriter(w)
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		header := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := t.WriteHeader(&header); err != nil {
			return err
		}
		if _, err := t.Write(data); err != nil {
			return err
		}
	}
	return t.Close()
}

// writeHook writes what HookOS is published as. As in the image, nothing is compressed: it is already.
func writeHook(dir string) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		return err
	}
	if err := archive(z, dir, kernelName, initrdName); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, hookName), b.Bytes(), 0o644); err != nil {
		return err
	}
	sums := fmt.Appendf(nil, "%x  %s\n", sha512.Sum512(b.Bytes()), hookName)
	return os.WriteFile(filepath.Join(dir, hookSums), sums, 0o644)
}

// writeImage writes an OCI image of the files, one in each layer, as the one image of an index.
func writeImage(dir string, files []string) error {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, name := range files {
		var b bytes.Buffer
		if err := archive(&b, dir, name); err != nil {
			return err
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
		layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.NoCompression))
		if err != nil {
			return err
		}
		// Its own descriptor has empty annotations, which a manifest cannot express.
		if image, err = mutate.AppendLayers(image, struct{ v1.Layer }{layer}); err != nil {
			return err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return err
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{
		Add:        image,
		Descriptor: v1.Descriptor{Platform: config.Platform()},
	})
	_, err = layout.Write(filepath.Join(dir, imageName), mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index}))
	return err
}
