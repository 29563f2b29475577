// Package archive has the tar archive inside an overlay: which entries it may have, how it is written and how
// it is read. Whoever writes one and whoever reads one apply the same rules, so that what can be sealed can be
// applied.
//
// An archive holds regular files, directories and symbolic links. Paths are relative to the machine's root,
// in UTF-8, without "." and ".."; every ancestor of an entry that is in the archive is a directory and comes
// before it; no two differ in case only. There are no hard links, devices, extended attributes or sparse
// files, and no setuid, setgid or sticky bits. Which paths may be written is in Writable. Times are not kept.
//
// The format is POSIX tar (IEEE 1003.1, ustar with pax headers where a value needs one), with exactly two
// blocks of zeros at its end, which tar itself leaves open.
package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ember-os/ember/attest/overlay/manifest"
)

const (
	maxPath      = 1024     // bytes of an entry's path, and of a link's target
	maxComponent = 255      // NAME_MAX
	maxPaths     = 32 << 20 // bytes of all paths together, with perPath for each
	perPath      = 96       // bytes that a path takes in memory besides itself
)

// Kind is what an entry is.
type Kind byte

// The kinds of entries.
const (
	File Kind = iota
	Directory
	Symlink
)

// Entry is one file, directory or symbolic link.
type Entry struct {
	Path     string // relative to the root, without a slash at its end
	Kind     Kind
	Mode     fs.FileMode // permission bits; 0777 for a link
	UID, GID int
	Size     int64  // bytes of a file
	Target   string // of a link
}

// rules are what the entries of one archive are checked against. They have a bounded size.
type rules struct {
	seen    map[string]place // by folded path
	entries int
	bytes   int // that seen has
}

// place is a path that is an entry or an ancestor of one.
type place struct {
	path     string
	dir      bool
	explicit bool // it has an entry of its own
}

func newRules() *rules { return &rules{seen: make(map[string]place)} }

// add checks the next entry.
func (r *rules) add(e Entry) error {
	if err := r.check(e); err != nil {
		return fmt.Errorf("%q: %w", shorten(e.Path), err)
	}
	return nil
}

func (r *rules) check(e Entry) error {
	if r.entries++; r.entries > manifest.MaxEntries {
		return fmt.Errorf("the archive has more than %d entries", manifest.MaxEntries)
	}
	if err := checkPath(e.Path); err != nil {
		return err
	}
	if err := Writable(e.Path, e.Kind); err != nil {
		return err
	}
	switch {
	case e.Mode&^0o777 != 0:
		return fmt.Errorf("its mode %v has more than permissions: setuid, setgid and sticky bits are not allowed", e.Mode)
	case e.UID < 0 || e.GID < 0 || e.UID >= math.MaxUint32 || e.GID >= math.MaxUint32:
		return fmt.Errorf("its owner %d:%d is no user and group", e.UID, e.GID)
	case e.Kind != File && e.Size != 0 || e.Size < 0:
		return errors.New("it has content but is no file")
	case e.Kind == Symlink:
		if err := checkTarget(e.Path, e.Target); err != nil {
			return err
		}
	case e.Target != "":
		return errors.New("it has a target but is no symbolic link")
	}
	key := fold(e.Path)
	for i, j := 0, 0; ; i, j = i+1, j+1 { // the same ancestor ends at i and at j
		nextI, nextJ := strings.IndexByte(e.Path[i:], '/'), strings.IndexByte(key[j:], '/')
		if nextI < 0 {
			break
		}
		i, j = i+nextI, j+nextJ
		if err := r.note(e.Path[:i], key[:j], true, false); err != nil {
			return err
		}
	}
	return r.note(e.Path, key, e.Kind == Directory, true)
}

// note records a path, whose folded form is key, or finds it recorded.
func (r *rules) note(path, key string, dir, explicit bool) error {
	p, ok := r.seen[key]
	switch {
	case !ok:
		if r.bytes += len(path) + len(key) + perPath; r.bytes > maxPaths {
			return errors.New("the archive has too many and too long paths to be remembered")
		}
	case p.path != path:
		return fmt.Errorf("it differs from %q in case only", p.path)
	case explicit && p.explicit:
		return errors.New("it is in the archive twice")
	case explicit:
		return errors.New("it comes after what is in it")
	case !p.dir:
		return fmt.Errorf("%q is in the archive and no directory", path)
	}
	r.seen[key] = place{path, dir, p.explicit || explicit}
	return nil
}

// fold maps strings that differ in case only to the same string.
func fold(s string) string {
	return strings.Map(func(c rune) rune {
		if c < utf8.RuneSelf {
			return unicode.ToUpper(c) // the least of its kind
		}
		least := c
		for next := unicode.SimpleFold(c); next != c; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("its path is empty")
	case len(path) > maxPath:
		return fmt.Errorf("its path has more than %d bytes", maxPath)
	case strings.HasPrefix(path, "/"):
		return errors.New("its path is absolute: paths in the archive are relative to the machine's root")
	case !utf8.ValidString(path):
		return errors.New("its path is not UTF-8")
	case strings.ContainsFunc(path, unicode.IsControl):
		return errors.New("its path has a control character")
	}
	for name := range strings.SplitSeq(path, "/") {
		switch {
		case name == "" || name == "." || name == "..":
			return fmt.Errorf("its path has a component %q", name)
		case len(name) > maxComponent:
			return fmt.Errorf("a component of its path has more than %d bytes", maxComponent)
		}
	}
	return nil
}

// FromHeader gives the entry that a header of a tar archive is. Its path may break rules of this package.
func FromHeader(h *tar.Header) (Entry, error) {
	e := Entry{Path: h.Name, Mode: fs.FileMode(h.Mode & 0o777), UID: h.Uid, GID: h.Gid}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Kind, e.Size = File, h.Size
	case tar.TypeDir:
		e.Kind, e.Path = Directory, strings.TrimSuffix(h.Name, "/")
	case tar.TypeSymlink:
		e.Kind, e.Target, e.Mode = Symlink, h.Linkname, 0o777
	case tar.TypeLink:
		return e, fmt.Errorf("%q is a hard link to %q: make it a file or a symbolic link", shorten(h.Name), shorten(h.Linkname))
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return e, fmt.Errorf("%q is a device node or a FIFO", shorten(h.Name))
	default:
		return e, fmt.Errorf("%q is of a kind that an overlay cannot have (%q)", shorten(h.Name), h.Typeflag)
	}
	if h.Mode&^0o777 != 0 && e.Kind != Symlink {
		return e, fmt.Errorf("%q has the mode %#o: setuid, setgid and sticky bits are not allowed", shorten(h.Name), h.Mode)
	}
	for key := range h.PAXRecords {
		switch key {
		case "path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime", "atime", "ctime", "comment":
		default:
			return e, fmt.Errorf("%q has a %q, which an overlay cannot have", shorten(h.Name), shorten(key))
		}
	}
	return e, nil
}

func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
