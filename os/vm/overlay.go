package vm

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// File is a file that a machine has besides those of its initrd. It belongs to
// root. One that replaces a file of the initrd must be as long as that one, or
// init finds the tree damaged.
//
// The directories above it are made with mode 0755, which is also what they
// have afterwards if the initrd has them; a File for a directory before those
// in it gives another mode.
type File struct {
	Path   string        // from the root, such as usr/lib/systemd/system/x.service
	Mode   cpio.FileMode // type and permissions; a regular file if it has no type, 0644 if 0
	Data   string        // of a regular file
	Target string        // of a symbolic link, which it makes the file
}

const (
	extendedInitrd = "initrd" // in Config.Dir
	archiveAlign   = 4        // where in an initrd Linux looks for another archive
)

// extendInitrd makes an initrd of Config.Initrd, if there is one, and one more
// archive that holds the overlay, and returns where it is.
func (c Config) extendInitrd() (name string, err error) {
	name = filepath.Join(c.Dir, extendedInitrd)
	defer func() {
		if err != nil {
			err = fmt.Errorf("adding files to the initrd: %w", err)
		}
	}()
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if c.Initrd != "" {
		base, err := os.Open(c.Initrd)
		if err != nil {
			return "", err
		}
		defer base.Close()
		n, err := io.Copy(f, base)
		if err != nil {
			return "", err
		}
		if _, err := f.Write(make([]byte, -n&(archiveAlign-1))); err != nil {
			return "", err
		}
	}
	if err := writeFiles(f, c.Overlay); err != nil {
		return "", err
	}
	return name, f.Close()
}

// writeFiles writes a newc archive of files and the directories above them.
func writeFiles(w io.Writer, files []File) error {
	archive := cpio.NewWriter(w)
	made := map[string]bool{".": true}
	inode := int64(0)
	add := func(f File) error {
		body := f.Data
		if f.Target != "" {
			body = f.Target
		}
		inode++
		made[f.Path] = true
		err := archive.WriteHeader(&cpio.Header{Name: f.Path, Mode: f.Mode, Inode: inode, Links: 1, Size: int64(len(body))})
		if err == nil {
			_, err = io.WriteString(archive, body)
		}
		return err
	}
	for _, f := range files {
		f.Path = strings.TrimPrefix(path.Clean("/"+f.Path), "/")
		for _, dir := range parents(f.Path) {
			if made[dir] {
				continue
			}
			if err := add(File{Path: dir, Mode: cpio.TypeDir | 0o755}); err != nil {
				return err
			}
		}
		if err := add(f.complete()); err != nil {
			return err
		}
	}
	return archive.Close()
}

// complete gives a file its type and mode.
func (f File) complete() File {
	switch {
	case f.Target != "":
		f.Mode = cpio.TypeSymlink | 0o777
	case f.Mode == 0:
		f.Mode = cpio.TypeReg | 0o644
	case f.Mode&^cpio.ModePerm == 0:
		f.Mode |= cpio.TypeReg
	}
	return f
}

// parents lists the directories above a path, outermost first.
func parents(name string) []string {
	var dirs []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}
