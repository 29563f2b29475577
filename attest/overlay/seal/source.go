package seal

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ember-os/ember/attest/overlay/archive"
)

// Dir adds the tree below a directory, in the order of names. All of it is root's, with the modes that it
// has; a file with several names is several files.
func Dir(dir string) func(*archive.Writer) error {
	return func(w *archive.Writer) error {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return fmt.Errorf("opening the tree: %w", err)
		}
		defer root.Close()
		return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || name == "." {
				return err
			}
			return addFile(w, root, name)
		})
	}
}

func addFile(w *archive.Writer, root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	e := archive.Entry{Path: filepath.ToSlash(name), Mode: info.Mode() &^ fs.ModeType}
	switch info.Mode().Type() {
	case fs.ModeDir:
		e.Kind = archive.Directory
	case fs.ModeSymlink:
		e.Kind, e.Mode = archive.Symlink, 0o777
		if e.Target, err = root.Readlink(name); err != nil {
			return err
		}
	case 0:
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if info, err = f.Stat(); err != nil {
			return err
		}
		e.Size = info.Size()
		return w.Add(e, f)
	default:
		return fmt.Errorf("%q: it is no file, directory or symbolic link", name)
	}
	return w.Add(e, nil)
}

// Tar adds the entries of a tar archive, in their order, with their owners and modes. Paths may begin with
// "./".
func Tar(r io.Reader) func(*archive.Writer) error {
	return func(w *archive.Writer) error {
		var tail archive.Tail
		for in := tar.NewReader(io.TeeReader(r, &tail)); ; {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				if !tail.Ended() {
					return errors.New("reading the tar archive: it is cut off")
				}
				return nil
			} else if err != nil {
				return fmt.Errorf("reading the tar archive (which is not compressed): %w", err)
			}
			if h.Typeflag == tar.TypeXGlobalHeader { // git's name of a commit, and the like
				continue
			}
			if h.Name = strings.TrimPrefix(h.Name, "./"); h.Name == "" && h.Typeflag == tar.TypeDir {
				continue
			}
			e, err := archive.FromHeader(h)
			if err != nil {
				return err
			}
			if err := w.Add(e, in); err != nil {
				return err
			}
		}
	}
}
