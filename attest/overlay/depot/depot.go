// Package depot is an attestation server's folder of overlays, as operators change it while the server runs: they
// publish a version, list what there is, and go back. Package seal knows the files of an overlay.
//
// A version takes the place of the one before at once, and only once all of it is there and right. What it
// replaces is kept, hidden, as ".kept/NAME/VERSION": hard links, which take no room twice. Going back is either a
// new version with older contents, which takes a new signature and no new ciphertext ([Depot.Reissue]), or an
// older version as it was ([Depot.Downgrade]).
//
// Several processes may change a folder: they take turns by a lock on it (flock(2)).
package depot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
	"github.com/ember-os/ember/attest/store"
)

// keptFolder has what was replaced. Servers do not look at names that begin with a dot.
const keptFolder = ".kept"

// What callers branch on.
var (
	// ErrNotFound is that there is no such overlay, or no such version of it.
	ErrNotFound = errors.New("there is no such overlay, or no such version of it")
	// ErrOther is that the version is there, with other contents.
	ErrOther = errors.New("this version is published already, with other contents: versions only go up")
	// ErrUnfit is that what is to be published is not right, or not what it says that it is.
	ErrUnfit = errors.New("the overlay is not fit to be published")
)

// Depot is the folder. Its fields stay as they are.
type Depot struct {
	Folder     string
	Identities []age.Identity // what opens the headers
	Keys       []manifest.Key // those that sign manifests; without any, nothing is published
	Registry   *store.Registry
	// Keep is how many versions of an overlay are kept that others have replaced.
	Keep int
	// MaxSize is the largest ciphertext that is taken, in bytes.
	MaxSize int64
}

// Version is a version that there is.
type Version struct {
	*manifest.Manifest
	// URL is where the ciphertext is, "" if the server has it.
	URL string `json:"url,omitempty"`
	// Published is whether machines get this one. The others are kept.
	Published bool `json:"published"`
}

// Overlay is all versions of an overlay, the published one first, then from new to old. Newest is the newest that
// was ever published, 0 for none: no older one is, unless by Downgrade.
type Overlay struct {
	Name     string    `json:"name"`
	Newest   uint64    `json:"newest"`
	Versions []Version `json:"versions"`
	// Problem is why it cannot be read, or not all of it; "" if it can.
	Problem string `json:"problem,omitempty"`
}

// List lists all overlays.
func (d *Depot) List(ctx context.Context) ([]Overlay, error) {
	names := make(map[string]bool)
	for _, folder := range []string{d.Folder, filepath.Join(d.Folder, keptFolder)} {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("listing overlays: %w", err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") {
				names[e.Name()] = true
			}
		}
	}
	all := make([]Overlay, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		o, err := d.Get(ctx, name)
		if err != nil {
			o.Problem = err.Error()
		}
		all = append(all, o)
	}
	return all, nil
}

// Get is one overlay.
func (d *Depot) Get(ctx context.Context, name string) (Overlay, error) {
	o := Overlay{Name: name}
	if !manifest.IsName(name) {
		return o, ErrNotFound
	}
	paths := []string{d.path(name)}
	kept, err := d.kept(name)
	if err != nil {
		return o, err
	}
	for _, version := range kept {
		paths = append(paths, d.keptPath(name, version))
	}
	for i, path := range paths {
		v, err := describe(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has none, or has just been replaced
		} else if err != nil {
			return o, fmt.Errorf("reading overlay %q: %w", name, err)
		}
		v.Published = i == 0
		if !v.Published && len(o.Versions) > 0 && o.Versions[0].Published && o.Versions[0].Version == v.Version {
			continue // it was gone back to
		}
		o.Versions = append(o.Versions, v)
	}
	if len(o.Versions) == 0 {
		return o, ErrNotFound
	}
	o.Newest, err = d.Registry.Newest(ctx, name)
	return o, err
}

// Manifest is the signed manifest of a version.
func (d *Depot) Manifest(name string, version uint64) ([]byte, error) {
	path, err := d.find(name, version)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(path, seal.ManifestFile))
}

// find is the folder of a version.
func (d *Depot) find(name string, version uint64) (string, error) {
	if !manifest.IsName(name) {
		return "", ErrNotFound
	}
	for _, path := range []string{d.path(name), d.keptPath(name, version)} {
		v, err := describe(path)
		if err == nil && v.Version == version {
			return path, nil
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("reading overlay %q: %w", name, err)
		}
	}
	return "", ErrNotFound
}

func (d *Depot) path(name string) string { return filepath.Join(d.Folder, name) }

func (d *Depot) keptPath(name string, version uint64) string {
	return filepath.Join(d.Folder, keptFolder, name, strconv.FormatUint(version, 10))
}

// kept are the versions that are kept, from new to old.
func (d *Depot) kept(name string) ([]uint64, error) {
	entries, err := os.ReadDir(filepath.Join(d.Folder, keptFolder, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing overlays: %w", err)
	}
	var versions []uint64
	for _, e := range entries {
		if v, err := strconv.ParseUint(e.Name(), 10, 64); err == nil {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	slices.Reverse(versions)
	return versions, nil
}

// describe reads what a folder says. Who has signed it was asked when it came.
func describe(folder string) (Version, error) {
	signed, err := readSome(filepath.Join(folder, seal.ManifestFile), manifest.MaxSize+1)
	if err != nil {
		return Version{}, err
	}
	m, err := manifest.Peek(signed)
	if err != nil {
		return Version{}, err
	}
	v := Version{Manifest: m}
	address, err := readSome(filepath.Join(folder, seal.AddressFile), maxAddress)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Version{}, err
	}
	v.URL = strings.TrimSpace(string(address))
	return v, nil
}

// readSome reads the beginning of a file.
func readSome(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// lock waits for its turn to change the folder.
func (d *Depot) lock() (unlock func(), err error) {
	f, err := os.Open(d.Folder)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", d.Folder, err)
	}
	return func() { f.Close() }, nil
}
