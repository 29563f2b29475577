// Package initrd makes an initramfs of a file tree: archives in the newc format
// of Linux (Documentation/driver-api/early-userspace/buffer-format.rst), which
// the kernel unpacks one after the other.
//
// A tree becomes archives. The first holds what changes with every build of
// some packages: their files, /init, the records of how the image was composed,
// and the manifest of all archives. The second holds the rest; its bytes depend
// on no file of those packages, so it need not be compressed again. A directory
// that both need is in both. The first comes first in the initrd, so that a
// truncated one still starts and can say what is missing. Large files may be
// packed, see Pack: their images are a third archive.
//
// The last entry of all is an empty file that the manifest lists: the kernel sets
// a file's size before its data arrive, so a cut in the last file would not show.
//
// The archives are functions of the tree: sorted by path, inode numbers counted
// from 1, no times. Extended attributes, which newc has no place for, are in the
// manifest. The tree's root directory is not in an archive.
package initrd

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/manifest"
	"github.com/ember-os/ember/os/packed"
	"github.com/ember-os/ember/tools/apk"
	"github.com/ember-os/ember/tools/initrd/layout"
	"github.com/ember-os/ember/tools/initrd/tree"
)

// initPath is what the kernel runs of an initramfs.
const initPath = "init"

// endPath is the empty file at the end of the last archive.
const endPath = "usr/lib/ember/end"

const (
	readOnlyFile = unix.S_IFREG | 0o444
	directory    = unix.S_IFDIR | 0o755
	symlink      = unix.S_IFLNK | 0o777
)

// records are apko's notes on the image, which change with any package.
var records = []string{"usr/lib/apk/db", "lib/apk/db", "etc/apk", "etc/apko.json"}

// Load merges the layers of the image for an architecture in an OCI layout; an
// empty architecture takes the only image there is.
func Load(dir, architecture string) (*tree.Tree, error) {
	image, err := layout.Open(dir, architecture)
	if err != nil {
		return nil, err
	}
	t := tree.New()
	for _, l := range image.Layers {
		if err := l.Read(t.Apply); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Archives are what the archives of an initrd hold, in their order. Packed is empty if nothing is packed.
type Archives struct{ First, Rest, Packed []tree.Entry }

// Split puts the manifest into the tree and divides it. The first archive holds
// what the named packages own.
func Split(t *tree.Tree, packages []string) (a Archives, err error) {
	if _, ok := t.Resolve(initPath); !ok {
		return a, fmt.Errorf("the image has no /%s, without which a kernel does not start an initrd", initPath)
	}
	owners, err := readOwners(t, packages)
	if err != nil {
		return a, err
	}
	if err := t.Add(endPath, &tree.Inode{Mode: readOnlyFile}); err != nil {
		return a, err
	}
	list, err := addManifest(t)
	if err != nil {
		return a, err
	}
	s := split{owners: owners, manifest: list, entries: t.Entries(), inFirst: map[string]bool{}, inRest: map[string]bool{}}
	s.mark()
	last, end := &a.Rest, tree.Entry{}
	for _, e := range s.entries {
		if s.inFirst[e.Path] {
			a.First = append(a.First, e)
		}
		switch {
		case e.Path == endPath:
			end = e
		case packed.IsImage("/" + e.Path):
			a.Packed = append(a.Packed, e)
			last = &a.Packed
		case s.inRest[e.Path]:
			a.Rest = append(a.Rest, e)
		}
	}
	*last = append(*last, end)
	return a, checkHardLinks(a.First, a.Rest)
}

func addManifest(t *tree.Tree) (*tree.Inode, error) {
	file := &tree.Inode{Mode: readOnlyFile}
	if err := t.Add(manifest.Path, file); err != nil {
		return nil, err
	}
	var entries []manifest.Entry
	for _, e := range t.Entries() {
		if e.Inode == file {
			continue
		}
		entries = append(entries, manifest.Entry{
			Path: e.Path, Mode: e.Mode, UID: int(e.UID), GID: int(e.GID), Size: int64(len(e.Data)),
			Major: e.Major, Minor: e.Minor, Target: e.Target, Xattrs: e.Xattrs,
		})
	}
	var b bytes.Buffer
	if err := manifest.Write(&b, entries); err != nil {
		return nil, err
	}
	file.Data = b.Bytes()
	return file, nil
}

// Installed reads the image's database of packages.
func Installed(t *tree.Tree) ([]apk.Installed, error) {
	db, ok := t.File(apk.InstalledPath)
	if !ok {
		return nil, fmt.Errorf("the image has no %s, which names its packages", apk.InstalledPath)
	}
	return apk.ReadInstalled(bytes.NewReader(db.Data))
}

// owner says what kinds of packages a path belongs to.
type owner struct{ first, rest bool }

func readOwners(t *tree.Tree, packages []string) (map[string]owner, error) {
	installed, err := Installed(t)
	if err != nil {
		return nil, err
	}
	for _, name := range packages {
		if !slices.ContainsFunc(installed, func(p apk.Installed) bool { return p.Name == name }) {
			return nil, fmt.Errorf("package %s is not in the image", name)
		}
	}
	owners := map[string]owner{}
	for _, p := range installed {
		for _, name := range p.Paths {
			if at, ok := t.Resolve(name); ok {
				o := owners[at]
				if slices.Contains(packages, p.Name) {
					o.first = true
				} else {
					o.rest = true
				}
				owners[at] = o
			}
		}
	}
	return owners, nil
}

// split marks which entries go where.
type split struct {
	owners          map[string]owner
	manifest        *tree.Inode
	entries         []tree.Entry // sorted by path
	inFirst, inRest map[string]bool
}

func (s *split) mark() {
	full := map[string]bool{} // directories with something in them
	for _, e := range slices.Backward(s.entries) {
		o := s.owners[e.Path]
		switch {
		case !e.IsDir():
			o.first = o.first && !o.rest || e.Path == initPath || e.Inode == s.manifest || isRecord(e.Path)
			o.rest = !o.first
		case !full[e.Path] && !o.first:
			o.rest = true // an empty directory that only the configuration asked for
		}
		full[path.Dir(e.Path)] = true
		if o.first {
			markUp(s.inFirst, e.Path)
		}
		if o.rest {
			markUp(s.inRest, e.Path)
		}
	}
}

// markUp marks a path and the directories above it.
func markUp(marks map[string]bool, p string) {
	for ; p != "." && !marks[p]; p = path.Dir(p) {
		marks[p] = true
	}
}

func isRecord(p string) bool {
	return slices.ContainsFunc(records, func(r string) bool { return p == r || strings.HasPrefix(p, r+"/") })
}

// checkHardLinks refuses a file with names in both archives: a link across
// archives cannot be expressed.
func checkHardLinks(first, rest []tree.Entry) error {
	names := map[*tree.Inode]string{}
	for _, e := range first {
		if e.IsRegular() {
			names[e.Inode] = e.Path
		}
	}
	for _, e := range rest {
		if name, ok := names[e.Inode]; ok && e.IsRegular() {
			return fmt.Errorf("%s and %s are hard links to one file, but lie in two archives", name, e.Path)
		}
	}
	return nil
}
