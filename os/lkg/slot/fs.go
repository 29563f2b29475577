package slot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// FS is the filesystem of an ESP. Paths have slashes and begin without one; names are in capitals and short
// enough for FAT without long names. Errors are those of package os.
type FS interface {
	Open(name string) (File, error) // to read and write
	Create(name string) (File, error)
	Remove(name string) error
	Mkdir(name string) error
	SyncDir(name string) error // has the disk keep what was created and removed in a directory
	Free() (bytes int64, err error)
}

// File is an open one.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Sync() error // has the disk keep what was written, and reads come from the disk again
}

// Dir is a mounted filesystem as an FS.
type Dir struct{ *os.Root }

// Open opens a file, only to read if that is all one can do.
func (d Dir) Open(name string) (File, error) {
	f, err := d.open(name, os.O_RDWR)
	if !errors.Is(err, unix.EROFS) {
		return f, err
	}
	if f, err = d.open(name, os.O_RDONLY); err != nil {
		return nil, err
	}
	return readOnly{f}, nil
}

type readOnly struct{ File }

func (readOnly) WriteAt([]byte, int64) (int, error) { return 0, unix.EROFS }

// Create makes a file that is not there yet.
func (d Dir) Create(name string) (File, error) { return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL) }

func (d Dir) open(name string, flags int) (File, error) {
	f, err := d.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

// Mkdir makes a directory.
func (d Dir) Mkdir(name string) error { return d.Root.Mkdir(name, 0o700) }

// SyncDir does fsync(2) of a directory.
func (d Dir) SyncDir(name string) error {
	f, err := d.Root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Free is what can still be written.
func (d Dir) Free() (int64, error) {
	var s unix.Statfs_t
	f, err := d.Root.Open(".")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return 0, fmt.Errorf("asking for the free space: %w", err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

type file struct{ *os.File }

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f file) Sync() error {
	if err := f.File.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// mkdirs makes the directory of a file, and those above it.
func mkdirs(f FS, name string) error {
	dir := path.Dir(name)
	if dir == "." {
		return nil
	}
	if err := mkdirs(f, dir); err != nil {
		return err
	}
	err := f.Mkdir(dir)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = f.SyncDir(path.Dir(dir))
	}
	return err
}

// exists tells whether there is a file, with its size.
func exists(f FS, name string) (size int64, is bool, err error) {
	opened, err := f.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	size, err = opened.Size()
	return size, true, errors.Join(err, opened.Close())
}
