// Package layout reads an OCI image layout, version 1.0.0, from a directory and
// checks what it reads: sizes and digests of all blobs of one image, media
// types, and the digests of the unpacked layers against the image's
// configuration. Only SHA-256 is accepted, as only it is in use.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxDocument is the most a JSON document of a layout may hold.
const maxDocument = 16 << 20

// Image is one image of a layout.
type Image struct {
	Architecture string  // as Go names it
	Layers       []Layer // lowest first
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    digest `json:"digest"`
	Size      int64  `json:"size"`
	Platform  struct {
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

type digest string

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (d *digest) UnmarshalText(text []byte) error {
	if !digestPattern.Match(text) {
		return fmt.Errorf("%q is no SHA-256 digest", text)
	}
	*d = digest(text)
	return nil
}

func digestOf(sum []byte) digest { return digest("sha256:" + hex.EncodeToString(sum)) }

// Media types of documents: OCI's and Docker's.
var (
	indexTypes = map[string]bool{
		"application/vnd.oci.image.index.v1+json":                   true,
		"application/vnd.docker.distribution.manifest.list.v2+json": true,
	}
	manifestTypes = map[string]bool{
		"application/vnd.oci.image.manifest.v1+json":           true,
		"application/vnd.docker.distribution.manifest.v2+json": true,
	}
)

// Open finds the image for an architecture ("amd64"), or the only one there is
// if architecture is empty.
func Open(dir, architecture string) (*Image, error) {
	img, err := open(dir, architecture)
	if err != nil {
		return nil, fmt.Errorf("opening OCI layout %s: %w", dir, err)
	}
	return img, nil
}

func open(dir, architecture string) (*Image, error) {
	var marker struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := readFile(filepath.Join(dir, "oci-layout"), &marker); err != nil {
		return nil, err
	}
	if marker.Version != "1.0.0" {
		return nil, fmt.Errorf("layout version %q is not 1.0.0", marker.Version)
	}
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	if err := readFile(filepath.Join(dir, "index.json"), &index); err != nil {
		return nil, err
	}
	var found []descriptor
	for depth := 0; len(index.Manifests) > 0; depth++ {
		if depth > 4 {
			return nil, errors.New("indexes are nested too deeply")
		}
		level := index.Manifests
		index.Manifests = nil
		for _, d := range level {
			switch {
			case indexTypes[d.MediaType]:
				nested := index
				nested.Manifests = nil
				if err := readBlob(dir, d, &nested); err != nil {
					return nil, err
				}
				index.Manifests = append(index.Manifests, nested.Manifests...)
			case !manifestTypes[d.MediaType]:
				return nil, fmt.Errorf("manifest %s has unknown media type %q", d.Digest, d.MediaType)
			case architecture == "" || d.Platform.Architecture == architecture || d.Platform.Architecture == "":
				found = append(found, d)
			}
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("it holds %d images for architecture %q where one is wanted", len(found), architecture)
	}
	return openImage(dir, found[0], architecture)
}

func openImage(dir string, d descriptor, architecture string) (*Image, error) {
	var manifest struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if err := readBlob(dir, d, &manifest); err != nil {
		return nil, err
	}
	var config struct {
		Architecture string `json:"architecture"`
		RootFS       struct {
			DiffIDs []digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := readBlob(dir, manifest.Config, &config); err != nil {
		return nil, err
	}
	if architecture != "" && config.Architecture != architecture {
		return nil, fmt.Errorf("image %s is for architecture %q, not %q", d.Digest, config.Architecture, architecture)
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return nil, fmt.Errorf("image %s has %d layers and %d diff_ids", d.Digest, len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	img := &Image{Architecture: config.Architecture}
	for i, l := range manifest.Layers {
		blob, err := blobPath(dir, l)
		if err != nil {
			return nil, err
		}
		img.Layers = append(img.Layers, Layer{blob: blob, descriptor: l, diffID: config.RootFS.DiffIDs[i]})
	}
	return img, nil
}

func blobPath(dir string, d descriptor) (string, error) {
	name, ok := strings.CutPrefix(string(d.Digest), "sha256:")
	if !ok {
		return "", errors.New("a descriptor has no digest")
	}
	return filepath.Join(dir, "blobs", "sha256", name), nil
}

func readFile(path string, document any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, document); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

func readBlob(dir string, d descriptor, document any) error {
	path, err := blobPath(dir, d)
	if err != nil {
		return err
	}
	if d.Size > maxDocument {
		return fmt.Errorf("document %s has %d bytes, more than %d", d.Digest, d.Size, maxDocument)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if int64(len(data)) != d.Size || digestOf(sum[:]) != d.Digest {
		return fmt.Errorf("blob %s does not hold what its name says", d.Digest)
	}
	if err := json.Unmarshal(data, document); err != nil {
		return fmt.Errorf("reading blob %s: %w", d.Digest, err)
	}
	return nil
}
