// Package tree merges the layers of an OCI image into one file tree in memory,
// by the rules of the OCI image specification ("Image Layer Filesystem
// Changeset"): later entries replace earlier ones, directories merge, whiteouts
// and opaque marks hide what lower layers hold, whatever their place in their
// own layer.
//
// Paths are resolved as an unpacker below the root would: symbolic links above
// the last element are followed, inside the tree. What no unpacker should make
// is an error that names the entry: absolute paths, "..", a path below a file
// or a dangling link, a hard link to nothing or to a directory.
package tree

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links one path may lead through, as in Linux.
const maxLinks = 40

// Inode is a file without its name. Hard links share it.
type Inode struct {
	Mode         uint32 // st_mode: type and permissions
	UID, GID     uint32
	Major, Minor uint32 // of a device
	Target       string // of a symbolic link
	Xattrs       map[string]string
	Data         []byte // of a regular file
}

// IsDir says whether the inode is a directory.
func (i *Inode) IsDir() bool { return i.Mode&unix.S_IFMT == unix.S_IFDIR }

// IsRegular says whether the inode is a regular file.
func (i *Inode) IsRegular() bool { return i.Mode&unix.S_IFMT == unix.S_IFREG }

func (i *Inode) isSymlink() bool { return i.Mode&unix.S_IFMT == unix.S_IFLNK }

// Tree is a file tree. Its root has no inode of its own: its mode is 0755.
type Tree struct {
	root  *node
	layer int // of how many layers the tree is made
}

// node is a name in a directory.
type node struct {
	inode    *Inode
	children map[string]*node // of a directory
	layer    int              // the last layer that named it
}

// New gives an empty tree.
func New() *Tree { return &Tree{root: newDir(0)} }

func newDir(layer int) *node {
	return &node{&Inode{Mode: unix.S_IFDIR | 0o755}, map[string]*node{}, layer}
}

// Entry is a file of the tree under its path, without leading slash. No element
// of the path but the last is a symbolic link.
type Entry struct {
	Path string
	*Inode
}

// Entries lists the tree sorted by path, so that parents come before children.
func (t *Tree) Entries() []Entry {
	var entries []Entry
	var walk func(string, *node)
	walk = func(dir string, n *node) {
		for name, child := range n.children {
			p := path.Join(dir, name)
			entries = append(entries, Entry{p, child.inode})
			walk(p, child)
		}
	}
	walk("", t.root)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return entries
}

// Resolve gives the path without symbolic links above its last element, and
// whether it is in the tree.
func (t *Tree) Resolve(p string) (string, bool) {
	n, at := t.lookup(p)
	return at, n != nil
}

// File gives the regular file at a path, symbolic links above it followed.
func (t *Tree) File(p string) (*Inode, bool) {
	n, _ := t.lookup(p)
	if n == nil || !n.inode.IsRegular() {
		return nil, false
	}
	return n.inode, true
}

// lookup finds a name, which may be a symbolic link, and its resolved path.
func (t *Tree) lookup(p string) (*node, string) {
	dir, name := path.Split(path.Clean("/" + p))
	n, at, err := t.dir(dir, false)
	if err != nil || n == nil || n.children[name] == nil {
		return nil, ""
	}
	return n.children[name], path.Join(at, name)[1:]
}

// Add puts a file in, which must not be there; missing parents are made.
func (t *Tree) Add(p string, inode *Inode) error {
	dir, name := path.Split(path.Clean("/" + p))
	n, _, err := t.dir(dir, true)
	if err != nil {
		return fmt.Errorf("adding %s: %w", p, err)
	}
	if n.children[name] != nil {
		return fmt.Errorf("adding %s: the image has such a file already", p)
	}
	t.put(n, name, inode)
	return nil
}

// Replace gives a name that is there, and is not a directory's, another inode.
func (t *Tree) Replace(p string, inode *Inode) error {
	dir, name := path.Split(path.Clean("/" + p))
	n, _, err := t.dir(dir, false)
	if err != nil || n == nil || n.children[name] == nil || n.children[name].inode.IsDir() {
		return fmt.Errorf("replacing %s: the image has no such file", p)
	}
	t.put(n, name, inode)
	return nil
}

// dir finds the directory at an absolute path and its path without symbolic
// links. What is missing is made, or gives nil if create is false.
func (t *Tree) dir(p string, create bool) (*node, string, error) {
	at, n := "/", t.root
	todo := elements(p)
	own := len(todo) // the last elements of todo, which no symbolic link gave
	for links := 0; len(todo) > 0; {
		fromLink := len(todo) > own
		if !fromLink {
			own--
		}
		name := todo[0]
		todo = todo[1:]
		if name == ".." { // of a symbolic link
			at = path.Dir(at)
			n = t.root
			for _, e := range elements(at) {
				n = n.children[e]
			}
			continue
		}
		child := n.children[name]
		if child == nil {
			if !create {
				return nil, "", nil
			}
			if fromLink {
				return nil, "", fmt.Errorf("%s leads through a symbolic link to %s, which does not exist", p, path.Join(at, name))
			}
			child = newDir(t.layer)
			n.children[name] = child
		}
		switch {
		case child.inode.IsDir():
			at, n = path.Join(at, name), child
		case child.inode.isSymlink():
			if links++; links > maxLinks {
				return nil, "", fmt.Errorf("%s leads through more than %d symbolic links", p, maxLinks)
			}
			if strings.HasPrefix(child.inode.Target, "/") {
				at, n = "/", t.root
			}
			todo = append(elements(child.inode.Target), todo...)
		default:
			return nil, "", fmt.Errorf("%s is not a directory", path.Join(at, name))
		}
	}
	return n, at, nil
}

// elements splits a path; "." and empty elements are dropped.
func elements(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(e string) bool { return e == "" || e == "." })
}

// put gives a name in a directory a new inode. A directory stays what it is if
// a directory is put over it, but for its attributes.
func (t *Tree) put(dir *node, name string, inode *Inode) {
	old := dir.children[name]
	n := &node{inode: inode, layer: t.layer}
	if inode.IsDir() {
		n.children = map[string]*node{}
		if old != nil && old.inode.IsDir() {
			n.children = old.children
		}
	}
	dir.children[name] = n
}

// hideLower removes what lower layers put below a directory.
func (t *Tree) hideLower(dir *node) {
	for _, name := range slices.Collect(maps.Keys(dir.children)) {
		t.hide(dir, name)
	}
}

// hide removes a name as far as lower layers made it: a directory that this
// layer named or put something into stays, with that.
func (t *Tree) hide(dir *node, name string) {
	n := dir.children[name]
	if n == nil {
		return
	}
	t.hideLower(n)
	if n.layer < t.layer && len(n.children) == 0 {
		delete(dir.children, name)
	}
}
