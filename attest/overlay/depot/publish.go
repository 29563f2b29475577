package depot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
	"github.com/ember-os/ember/attest/store"
)

// maxAddress is the largest address of a ciphertext, in bytes.
const maxAddress = 4 << 10

// Files gives the files of an overlay one after the other, the manifest first, and then io.EOF.
type Files func() (name string, contents io.Reader, err error)

// Publish publishes what it is given, if it is newer than all that was published before. The very same again
// changes nothing and is no error.
func (d *Depot) Publish(ctx context.Context, name string, files Files) (Version, error) {
	return d.replace(ctx, name, d.newer, func(folder string) error { return d.receive(folder, name, files) })
}

// Reissue publishes the contents of an older version once more, under a new manifest.
func (d *Depot) Reissue(ctx context.Context, name string, from uint64, signed []byte) (Version, error) {
	old, err := d.find(name, from)
	if err != nil {
		return Version{}, err
	}
	return d.replace(ctx, name, d.newer, func(folder string) error {
		if err := link(old, folder); err != nil {
			return err
		}
		// A new file: the old one is that of the old version too.
		path := filepath.Join(folder, seal.ManifestFile)
		return errors.Join(os.Remove(path), os.WriteFile(path, signed, 0o644))
	})
}

// Downgrade publishes a version that is kept, as it is, although newer ones were published. They may be published
// again from now on.
func (d *Depot) Downgrade(ctx context.Context, name string, version uint64) (Version, error) {
	old, err := d.find(name, version)
	if err != nil {
		return Version{}, err
	}
	older := func(context.Context, *manifest.Manifest) error { return nil }
	v, err := d.replace(ctx, name, older, func(folder string) error { return link(old, folder) })
	if err != nil {
		return Version{}, err
	}
	return v, d.Registry.Downgrade(ctx, name, version)
}

// errSame is that the version is published already, as it is.
var errSame = errors.New("it is published already")

// replace publishes what fill puts into a folder, if may says so of its manifest.
func (d *Depot) replace(ctx context.Context, name string, may func(context.Context, *manifest.Manifest) error, fill func(folder string) error) (Version, error) {
	if !manifest.IsName(name) {
		return Version{}, fmt.Errorf("%w: %q is not the name of an overlay", ErrUnfit, name)
	}
	var v Version
	unlock := func() {}
	defer func() { unlock() }()
	err := seal.Publish(d.Folder, name, func(folder string) (err error) {
		if err = fill(folder); err != nil {
			return err
		}
		if v, err = d.check(folder, name); err != nil {
			return err
		}
		release, err := d.lock()
		if err != nil {
			return err
		}
		unlock = release
		if err = may(ctx, v.Manifest); err != nil {
			return err
		}
		return d.keep(name)
	})
	if err != nil && !errors.Is(err, errSame) {
		return Version{}, err
	}
	v.Published = true
	return v, d.prune(name)
}

// newer is the error of a version that was published, or one after it.
func (d *Depot) newer(ctx context.Context, m *manifest.Manifest) error {
	newest, err := d.Registry.Newest(ctx, m.Name)
	if err != nil {
		return err
	}
	current, err := describe(d.path(m.Name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("reading overlay %q, which is published: %w", m.Name, err)
	case current.Version == m.Version:
		a, err1 := current.Encode()
		b, err2 := m.Encode()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if bytes.Equal(a, b) {
			return errSame
		}
		return ErrOther
	default:
		newest = max(newest, current.Version)
	}
	if m.Version < newest {
		return fmt.Errorf("%w: version %d", store.ErrOlder, newest)
	}
	return nil
}

// receive writes the files of an overlay to a folder. What they say is not looked at, but for the manifest, whose
// key has to be right before anything large is taken.
func (d *Depot) receive(folder, name string, files Files) error {
	limits := map[string]int64{seal.ManifestFile: manifest.MaxSize, seal.AddressFile: maxAddress, seal.HeaderFile: seal.HeaderSize}
	for first := true; ; first = false {
		file, contents, err := files()
		if errors.Is(err, io.EOF) && !first {
			return nil
		} else if err != nil {
			return fmt.Errorf("receiving the overlay: %w", err)
		}
		limit, known := limits[file]
		if !known || first != (file == seal.ManifestFile) {
			return fmt.Errorf("%w: %q is none of its files, or not where it must be: first %s, then others, each once", ErrUnfit, file, seal.ManifestFile)
		}
		delete(limits, file)
		if err := write(filepath.Join(folder, file), contents, limit); err != nil {
			return fmt.Errorf("receiving %s: %w", file, err)
		}
		if first {
			m, err := d.manifest(folder, name)
			if err != nil {
				return err
			}
			if m.Ciphertext.Size > d.MaxSize {
				return fmt.Errorf("%w: its ciphertext has %d bytes, and %d are taken at most: put it elsewhere, with emberctl seal --url or emberctl push", ErrUnfit, m.Ciphertext.Size, d.MaxSize)
			}
			limits[seal.CiphertextFile] = m.Ciphertext.Size
		}
	}
}

func write(path string, contents io.Reader, limit int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(contents, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%w: it has more than %d bytes", ErrUnfit, limit)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

func (d *Depot) manifest(folder, name string) (m *manifest.Manifest, err error) {
	signed, err := readSome(filepath.Join(folder, seal.ManifestFile), manifest.MaxSize+1)
	if err != nil {
		return nil, err
	}
	m, err = manifest.Open(signed, d.Keys...)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnfit, err)
	case m.Name != name:
		return nil, fmt.Errorf("%w: its manifest is that of %q, not of %q", ErrUnfit, m.Name, name)
	case !m.Expires.IsZero() && !time.Now().Before(m.Expires):
		return nil, fmt.Errorf("%w: it expired on %s: seal it again", ErrUnfit, m.Expires.Format(time.RFC3339))
	}
	return m, nil
}

// check looks at all of an overlay.
func (d *Depot) check(folder, name string) (Version, error) {
	m, err := d.manifest(folder, name)
	if err != nil {
		return Version{}, err
	}
	v := Version{Manifest: m}
	head, err := v.head(folder)
	if err != nil {
		return Version{}, fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	if _, err := seal.FileKey(head, d.Identities...); err != nil {
		return Version{}, fmt.Errorf("%w: %w: it must be sealed to this server's recipient", ErrUnfit, err)
	}
	return v, nil
}

// head finds the ciphertext, compares it with the manifest if it is here, and returns its beginning.
func (v *Version) head(folder string) ([]byte, error) {
	address, err := readSome(filepath.Join(folder, seal.AddressFile), maxAddress)
	if err == nil {
		v.URL = strings.TrimSpace(string(address))
		if u, err := url.Parse(v.URL); err != nil || !u.IsAbs() || u.User != nil {
			return nil, fmt.Errorf("%s has no address of the form SCHEME://HOST/PATH", seal.AddressFile)
		}
		return readSome(filepath.Join(folder, seal.HeaderFile), seal.HeaderSize)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.Open(filepath.Join(folder, seal.CiphertextFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, err
	}
	if want := v.Ciphertext; n != want.Size || manifest.Digest(h.Sum(nil)) != want.SHA256 {
		return nil, fmt.Errorf("%s is not the file that the manifest is about", seal.CiphertextFile)
	}
	head := make([]byte, min(seal.HeaderSize, n))
	_, err = f.ReadAt(head, 0)
	return head, err
}
