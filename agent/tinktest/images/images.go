// Package images makes container images for tests: images of Tinkerbell's
// agent as they are published and as they should not be, and images of actions.
//
// They are OCI images of gzip layers, the same each time. Everything in them
// belongs to root.
package images

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File is a program, or a symbolic link if it has a target.
type File struct {
	Path   string // without a leading slash; its directories are made
	Data   []byte
	Target string
}

// Image describes an image.
type Image struct {
	Layers       [][]File // the lowest first
	Architecture string   // of a Linux machine, amd64 if empty
	Entrypoint   []string
	Env          []string // NAME=VALUE
}

// Build makes the image.
func (i Image) Build() (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, files := range i.Layers {
		b, err := archive(files)
		if err != nil {
			return nil, fmt.Errorf("making a layer: %w", err)
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
		layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
		if err != nil {
			return nil, fmt.Errorf("making a layer: %w", err)
		}
		// Its own descriptor has empty annotations, which a manifest cannot express.
		if image, err = mutate.AppendLayers(image, struct{ v1.Layer }{layer}); err != nil {
			return nil, fmt.Errorf("adding a layer: %w", err)
		}
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", cmp.Or(i.Architecture, "amd64")
	file.Config.Entrypoint, file.Config.Env = i.Entrypoint, i.Env
	return mutate.ConfigFile(image, file)
}

// archive is a tar archive of files and the directories above them.
func archive(files []File) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{".": true}
	var addDirectory func(name string) error
	addDirectory = func(name string) error {
		if made[name] {
			return nil
		}
		made[name] = true
		if err := addDirectory(path.Dir(name)); err != nil {
			return err
		}
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755})
	}
	for _, f := range files {
		if err := addDirectory(path.Dir(f.Path)); err != nil {
			return nil, err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: 0o755, Size: int64(len(f.Data))}
		if f.Target != "" {
			h = &tar.Header{Typeflag: tar.TypeSymlink, Name: f.Path, Mode: 0o777, Linkname: f.Target}
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Index is an image for several architectures.
func Index(all ...Image) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, i := range all {
		image, err := i.Build()
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: cmp.Or(i.Architecture, "amd64")},
		}})
	}
	return index, nil
}

// Artifact is what registries also hold but is no image, such as a Helm chart.
func Artifact() (v1.Image, error) {
	chart := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.helm.config.v1+json")
	return mutate.AppendLayers(chart, static.NewLayer([]byte("no tar archive"), "application/vnd.cncf.helm.chart.content.v1.tar+gzip"))
}
