package depot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/attest/overlay/seal"
)

// keep keeps what is published now, if it is not kept already. A folder that says nothing that can be read is not
// worth it.
func (d *Depot) keep(name string) error {
	current := d.path(name)
	v, err := describe(current)
	if err != nil {
		return nil
	}
	all := filepath.Join(d.Folder, keptFolder, name)
	if err := os.MkdirAll(all, 0o755); err != nil {
		return fmt.Errorf("keeping the version before: %w", err)
	}
	folder, err := os.MkdirTemp(all, ".new-")
	if err == nil {
		err = link(current, folder)
	}
	if err == nil {
		// What is kept under this number already is the same, or one that a seal on this machine has replaced.
		to := d.keptPath(name, v.Version)
		err = errors.Join(os.RemoveAll(to), os.Rename(folder, to))
	}
	if err != nil {
		return fmt.Errorf("keeping the version before: %w", errors.Join(err, os.RemoveAll(folder)))
	}
	return nil
}

// prune removes the oldest of the versions that are kept.
func (d *Depot) prune(name string) error {
	versions, err := d.kept(name)
	if err != nil {
		return err
	}
	current, _ := describe(d.path(name))
	left := d.Keep
	for _, version := range versions {
		if current.Manifest != nil && version == current.Version {
			continue // it takes no room
		}
		if left--; left >= 0 {
			continue
		}
		if err := os.RemoveAll(d.keptPath(name, version)); err != nil {
			return fmt.Errorf("removing version %d, which is kept no longer: %w", version, err)
		}
	}
	return nil
}

// link makes the files of an overlay those of another folder too.
func link(from, to string) error {
	for _, file := range []string{seal.ManifestFile, seal.CiphertextFile, seal.HeaderFile, seal.AddressFile} {
		err := os.Link(filepath.Join(from, file), filepath.Join(to, file))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
