package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
)

// The media types of an overlay in a registry: an OCI image manifest whose config is the signed manifest and
// whose one layer is the ciphertext.
const (
	configType = "application/vnd.ember.overlay.manifest.v1"
	layerType  = "application/vnd.ember.overlay.v1.tar+zstd+age"
)

func (a *app) push() *cobra.Command {
	var insecure bool
	c := &cobra.Command{
		Use:   "push FOLDER REGISTRY/REPOSITORY[:TAG]",
		Short: "Put the ciphertext of an overlay into an OCI registry",
		Long: `Copy the ciphertext of an overlay to an OCI registry, with the credentials of
"docker login", and make the folder say that it is there. The tag is the overlay's
version if none is given. Publish the folder afterwards.`,
		Example: `  emberctl push overlays/rack registry.example.com/overlays/rack`,
		Args:    takes("an overlay", "a repository"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return push(cmd.Context(), a.stdout, args[0], args[1], insecure)
		},
	}
	c.Flags().BoolVar(&insecure, "insecure", false, "by HTTP")
	return c
}

func push(ctx context.Context, stdout io.Writer, folder, repository string, insecure bool) error {
	signed, err := os.ReadFile(filepath.Join(folder, seal.ManifestFile))
	if err != nil {
		return err
	}
	m, err := manifest.Peek(signed)
	if err != nil {
		return err
	}
	options := []name.Option{name.WithDefaultTag(fmt.Sprint(m.Version)), name.WithDefaultRegistry("")}
	if insecure {
		options = append(options, name.Insecure)
	}
	ref, err := name.NewTag(repository, options...)
	if err != nil || ref.RegistryStr() == "" {
		return misuse("%q is not of the form REGISTRY/REPOSITORY or REGISTRY/REPOSITORY:TAG", repository)
	}
	ciphertext := filepath.Join(folder, seal.CiphertextFile)
	if err := (&inspection{}).readCiphertext(ciphertext, &report{Manifest: m}); err != nil {
		return err
	}
	image, err := partial.CompressedToImage(&artifact{signed, m, ciphertext})
	if err != nil {
		return fmt.Errorf("making the artifact: %w", err)
	}
	if err := remote.Write(ref, image, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("pushing to %s: %w", ref, err)
	}
	f, err := os.Open(ciphertext)
	if err != nil {
		return err
	}
	defer f.Close()
	address := "oci://" + ref.Context().Name()
	if insecure { // oci:// is HTTPS
		address = fmt.Sprintf("http://%s/v2/%s/blobs/sha256:%s", ref.RegistryStr(), ref.RepositoryStr(), m.Ciphertext.SHA256)
	}
	if err := writeAddress(folder, f, address); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: pushed to %s; machines are sent to %s\n", folder, ref, address)
	return err
}

// artifact is an overlay as an image.
type artifact struct {
	signed     []byte
	manifest   *manifest.Manifest
	ciphertext string
}

var _ partial.CompressedImageCore = (*artifact)(nil)

func (a *artifact) RawConfigFile() ([]byte, error)      { return a.signed, nil }
func (a *artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func (a *artifact) RawManifest() ([]byte, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(a.signed))
	if err != nil {
		return nil, err
	}
	l := layer{a}
	return json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: configType, Size: size, Digest: digest},
		Layers: []v1.Descriptor{{MediaType: layerType, Size: a.manifest.Ciphertext.Size, Digest: l.hash()}},
	})
}

func (a *artifact) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if l := (layer{a}); h == l.hash() {
		return l, nil
	}
	return nil, errors.New("an overlay has one layer")
}

type layer struct{ *artifact }

func (l layer) hash() v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: l.manifest.Ciphertext.SHA256.String()}
}

func (l layer) Digest() (v1.Hash, error)            { return l.hash(), nil }
func (l layer) Size() (int64, error)                { return l.manifest.Ciphertext.Size, nil }
func (l layer) MediaType() (types.MediaType, error) { return layerType, nil }
func (l layer) Compressed() (io.ReadCloser, error)  { return os.Open(l.ciphertext) }
