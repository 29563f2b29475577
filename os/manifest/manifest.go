// Package manifest is the list of everything an initrd holds, kept inside it.
//
// The kernel boots an initrd that was cut short or did not fit into memory, and
// a newc archive cannot carry extended attributes. So the build writes this list
// into the first archive of the initrd, and init reads it at boot: Verify says
// what is missing, Restore sets the attributes.
//
// The format is mtree(5) with full path names, so that mtree and bsdtar read it
// too. Names are written as vis(3) octal escapes where they are not plain ASCII;
// extended attributes are xattr.<name>=<base64> as in go-mtree. The last line
// gives the number of entries, by which Read knows a list that was cut short.
package manifest

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Path is where the manifest lies, from the root of the initrd.
const Path = "/usr/lib/ember/manifest"

// Entry is one file of the initrd.
type Entry struct {
	Path         string            // without leading slash: "usr/bin/ember"
	Mode         uint32            // st_mode: file type and permission bits
	UID, GID     int               // owner
	Size         int64             // bytes; regular files only
	Major, Minor uint32            // device number; character and block devices only
	Target       string            // symbolic links only
	Xattrs       map[string]string // extended attributes: name to raw value
}

// types gives the mtree type of each file type.
var types = map[uint32]string{
	unix.S_IFREG:  "file",
	unix.S_IFDIR:  "dir",
	unix.S_IFLNK:  "link",
	unix.S_IFCHR:  "char",
	unix.S_IFBLK:  "block",
	unix.S_IFIFO:  "fifo",
	unix.S_IFSOCK: "socket",
}

func (e *Entry) fileType() uint32 { return e.Mode & unix.S_IFMT }

func (e *Entry) isDevice() bool {
	return e.fileType() == unix.S_IFCHR || e.fileType() == unix.S_IFBLK
}

// check refuses what has no place in an initrd or in its manifest.
func (e *Entry) check() error {
	switch {
	case e.Path == "" || e.Path == "." || path.Clean("/" + e.Path)[1:] != e.Path || strings.Contains(e.Path, "\x00"):
		return fmt.Errorf("path %q is not a clean path below the root", e.Path)
	case types[e.fileType()] == "" || e.Mode&^(unix.S_IFMT|0o7777) != 0:
		return fmt.Errorf("mode %#o of %q is no file mode", e.Mode, e.Path)
	case e.UID < 0 || e.GID < 0 || e.Size < 0:
		return fmt.Errorf("owner %d:%d or size %d of %q is negative", e.UID, e.GID, e.Size, e.Path)
	case (e.fileType() == unix.S_IFLNK) != (e.Target != ""):
		return fmt.Errorf("%q: a symbolic link, and nothing else, has a target", e.Path)
	}
	return nil
}
