package extract

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// temporary is the name under which a file is complete before it has its own. One that is left of a commit
// that was cut short is replaced.
const temporary = ".ember-overlay"

// tree is a root directory in which no symbolic link is ever followed.
type tree struct{ root *os.File }

// open opens the directory at name, relative to the root.
func (t tree) open(name string) (*os.File, error) {
	fd, err := unix.Openat2(int(t.root.Fd()), name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%q is, or is behind, a symbolic link of the machine's, and no link is followed", name)
	case err != nil:
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// kind is the file type (S_IFMT) of what is at name in dir, 0 if there is nothing.
func kind(dir *os.File, name string) (uint32, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	return st.Mode & unix.S_IFMT, err
}

// nearest opens the directory at name, or the lowest above it that there is.
func (t tree) nearest(name string) (f *os.File, there bool, err error) {
	for there = true; ; name, there = path.Dir(name), false {
		f, err = t.open(name)
		if !errors.Is(err, unix.ENOENT) {
			return f, there, err
		}
	}
}

// makeDir makes a directory. Where there is one it stays as it is.
func (t tree) makeDir(name string, mode os.FileMode, uid, gid int) error {
	parent, err := t.open(path.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := unix.Mkdirat(int(parent.Fd()), path.Base(name), 0o700); errors.Is(err, unix.EEXIST) {
		return nil
	} else if err != nil {
		return &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	f, err := t.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return errors.Join(f.Chown(uid, gid), f.Chmod(mode))
}

// makeLink makes a symbolic link in dir, in place of any file or link of this name.
func makeLink(dir *os.File, name, target string, uid, gid int) error {
	fd := int(dir.Fd())
	if err := tidy(dir); err != nil {
		return err
	}
	if err := unix.Symlinkat(target, fd, temporary); err != nil {
		return &os.PathError{Op: "symlink", Path: name, Err: err}
	}
	if err := unix.Fchownat(fd, temporary, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "chown", Path: name, Err: err}
	}
	return rename(dir, temporary, dir, name)
}

// create makes an empty file in dir, which rename then gives its name.
func create(dir *os.File) (*os.File, error) {
	if err := tidy(dir); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(int(dir.Fd()), temporary, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: path.Join(dir.Name(), temporary), Err: err}
	}
	return os.NewFile(uintptr(fd), path.Join(dir.Name(), temporary)), nil
}

// tidy removes what is left of an earlier commit.
func tidy(dir *os.File) error {
	err := unix.Unlinkat(int(dir.Fd()), temporary, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "unlink", Path: path.Join(dir.Name(), temporary), Err: err}
	}
	return nil
}

func rename(from *os.File, old string, to *os.File, name string) error {
	if err := unix.Renameat(int(from.Fd()), old, int(to.Fd()), name); err != nil {
		return &os.LinkError{Op: "rename", Old: old, New: path.Join(to.Name(), name), Err: err}
	}
	return nil
}
