package seal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The files of a published overlay, in a folder that is called as the overlay. Where AddressFile is, it says
// where the ciphertext is, and HeaderFile has what the attestation server needs of it.
const (
	ManifestFile   = "manifest"
	CiphertextFile = "overlay.age"
	HeaderFile     = "header"
	AddressFile    = "url"
)

// Publish replaces the folder called name in dir, at once, by one that fill has filled. A reader sees the old
// one or the new one. If fill fails nothing has changed.
func Publish(dir, name string, fill func(folder string) error) error {
	folder, err := os.MkdirTemp(dir, "."+name+"-")
	if err != nil {
		return fmt.Errorf("making a folder for the overlay: %w", err)
	}
	err = fill(folder)
	if err == nil {
		err = os.Chmod(folder, 0o755)
	}
	if err == nil {
		err = exchange(folder, filepath.Join(dir, name))
	}
	// What is in it now is the old one, or what was not finished.
	return errors.Join(err, os.RemoveAll(folder))
}

func exchange(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if errors.Is(err, fs.ErrNotExist) {
		err = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: from, New: to, Err: err}
	}
	return nil
}
