package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// named is how many paths an IncompleteError lists.
const named = 5

// IncompleteError says how far a tree differs from its manifest.
type IncompleteError struct {
	Entries int      // in the manifest
	Missing int      // that are not there
	Damaged int      // that are there with another type, size or device number
	First   []string // paths of the first few of these, in the manifest's order
}

func (e *IncompleteError) Error() string {
	more := ""
	if n := e.Missing + e.Damaged - len(e.First); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("the tree is incomplete: of %d entries %d are missing and %d damaged: %s%s",
		e.Entries, e.Missing, e.Damaged, strings.Join(e.First, " "), more)
}

// Verify compares the tree below root with the entries and returns an
// *IncompleteError if it lacks any. It looks at types, sizes and device numbers
// with one lstat each and reads nothing, which is enough to see a tree that was
// not unpacked to its end. It must run before anything is mounted over the tree.
func Verify(root string, entries []Entry) error {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("verifying %s: %w", root, err)
	}
	defer unix.Close(dir)
	found := IncompleteError{Entries: len(entries)}
	for i := range entries {
		e := &entries[i]
		var st unix.Stat_t
		err := unix.Fstatat(dir, e.Path, &st, unix.AT_SYMLINK_NOFOLLOW)
		switch {
		case err == unix.ENOENT || err == unix.ENOTDIR:
			found.Missing++
		case err != nil:
			return fmt.Errorf("verifying %s: %w", root, &fs.PathError{Op: "lstat", Path: e.Path, Err: err})
		case !e.matches(&st):
			found.Damaged++
		default:
			continue
		}
		if len(found.First) < named {
			found.First = append(found.First, e.Path)
		}
	}
	if found.First == nil {
		return nil
	}
	return &found
}

func (e *Entry) matches(st *unix.Stat_t) bool {
	switch {
	case st.Mode&unix.S_IFMT != e.fileType():
		return false
	case e.fileType() == unix.S_IFREG:
		return st.Size == e.Size
	case e.fileType() == unix.S_IFLNK:
		return st.Size == int64(len(e.Target))
	case e.isDevice():
		return st.Rdev == unix.Mkdev(e.Major, e.Minor)
	}
	return true
}

// Restore sets the entries' extended attributes on the tree below root. It goes
// on after a failure and returns all of them.
func Restore(root string, entries []Entry) error {
	var failures []error
	for i := range entries {
		e := &entries[i]
		for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
			if err := unix.Lsetxattr(filepath.Join(root, e.Path), name, []byte(e.Xattrs[name]), 0); err != nil {
				failures = append(failures, fmt.Errorf("restoring attribute %s of %s: %w", name, e.Path, err))
			}
		}
	}
	return errors.Join(failures...)
}
