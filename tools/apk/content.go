package apk

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Content is one thing that a package holds.
type Content struct {
	// Type is file, directory, symlink, hardlink, tar or tree.
	Type string `json:"type"`
	// Path is the place in the image, without leading slash. Of a tar or tree
	// it is the directory into which it goes; none is the root.
	Path string `json:"path"`
	// Source is the file, the uncompressed tar or the directory on this machine.
	Source string `json:"source"`
	// Target is what a symlink holds, or the path in this package that a
	// hardlink shares.
	Target string `json:"target"`
	// Mode, of a file or directory, is octal: "4755". The default is 0644 for a
	// file, 0755 for a directory.
	Mode string `json:"mode"`
	// Xattrs are extended attributes of a file or directory: name to raw value.
	Xattrs map[string][]byte `json:"xattrs"`
	// Include and Exclude choose from a tar or tree by path.Match patterns, of
	// which one that matches a directory matches all below it. No Include means
	// everything. A pattern that matches nothing is an error.
	Include []string `json:"include"`
	Exclude []string `json:"exclude"`
	// Rename replaces leading path elements in a tar or tree ("bin": "usr/bin")
	// before Path is put in front; the longest one that fits is taken.
	Rename map[string]string `json:"rename"`
}

// item is one entry of the data segment.
type item struct {
	header tar.Header // without times, in PAX format
	data   func() ([]byte, error)
}

// tree is the data segment while it is put together, by path.
type tree map[string]*item

func (t tree) add(c *Content) error {
	switch c.Type {
	case "tar":
		return t.addTar(c)
	case "tree":
		return t.addTree(c)
	}
	it := &item{header: tar.Header{Name: c.Path, Linkname: c.Target}}
	mode := int64(0o644)
	switch c.Type {
	case "file":
		it.header.Typeflag = tar.TypeReg
		it.data = func() ([]byte, error) { return os.ReadFile(c.Source) }
	case "directory":
		it.header.Typeflag = tar.TypeDir
		mode = 0o755
	case "symlink":
		it.header.Typeflag = tar.TypeSymlink
	case "hardlink":
		it.header.Typeflag = tar.TypeLink
	default:
		return fmt.Errorf("%s: no content is of type %q", c.Path, c.Type)
	}
	if c.Mode != "" {
		m, err := strconv.ParseUint(c.Mode, 8, 12)
		if err != nil {
			return fmt.Errorf("%s: mode %q is not octal", c.Path, c.Mode)
		}
		mode = int64(m)
	}
	it.header.Mode = mode
	for name, value := range c.Xattrs {
		it.setXattr(name, string(value))
	}
	return t.put(it)
}

func (it *item) setXattr(name, value string) {
	if it.header.PAXRecords == nil {
		it.header.PAXRecords = map[string]string{}
	}
	it.header.PAXRecords[xattrRecord+name] = value
}

// put takes an item in. A path comes once, but for directories that agree.
func (t tree) put(it *item) error {
	h := &it.header
	name := h.Name
	if name == "" || name == "." || path.Clean("/" + name)[1:] != name {
		return fmt.Errorf("%q is not a clean path below the root", name)
	}
	if (h.Typeflag == tar.TypeLink || h.Typeflag == tar.TypeSymlink) && h.Linkname == "" {
		return fmt.Errorf("link %s has no target", name)
	}
	if h.Uid != 0 || h.Gid != 0 {
		return fmt.Errorf("%s belongs to %d:%d, which apko does not keep: leave it to root and set the owner under paths: in apko.yaml", name, h.Uid, h.Gid)
	}
	if h.Typeflag == tar.TypeDir && h.Mode&^0o777 != 0 {
		return fmt.Errorf("directory %s has mode %o, of which apko keeps no more than 0777: set the rest under paths: in apko.yaml", name, h.Mode)
	}
	if h.Typeflag == tar.TypeSymlink {
		h.Mode = 0o777
	}
	old, ok := t[name]
	if ok && (old.header.Typeflag != tar.TypeDir || h.Typeflag != tar.TypeDir || old.header.Mode != h.Mode) {
		return fmt.Errorf("%s is given twice", name)
	}
	t[name] = it
	return nil
}

// addParents adds the directories that are not given.
func (t tree) addParents() error {
	for _, name := range slices.Collect(maps.Keys(t)) {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if parent, ok := t[dir]; !ok {
				t[dir] = &item{header: tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}}
			} else if parent.header.Typeflag != tar.TypeDir {
				return fmt.Errorf("%s lies below %s, which is no directory", name, dir)
			}
		}
	}
	return nil
}

// linkHard makes the first path of a hard-linked file, by sort order, the file
// itself and the others links to it: apko writes an image's files sorted, and a
// link must not come before its file.
func (t tree) linkHard() error {
	links := map[string][]string{}
	for name, it := range t {
		if it.header.Typeflag == tar.TypeLink {
			links[it.header.Linkname] = append(links[it.header.Linkname], name)
		}
	}
	for target, names := range links {
		file, ok := t[target]
		if !ok || file.header.Typeflag != tar.TypeReg {
			return fmt.Errorf("hard link %s: %s is no file of this package", slices.Min(names), target)
		}
		names = append(names, target)
		slices.Sort(names)
		for _, name := range names[1:] {
			t[name] = &item{header: tar.Header{
				Name: name, Linkname: names[0], Typeflag: tar.TypeLink, Mode: file.header.Mode,
			}}
		}
		file.header.Name = names[0]
		t[names[0]] = file
	}
	return nil
}

func (t tree) addTar(c *Content) error {
	f, err := os.Open(c.Source)
	if err != nil {
		return err
	}
	defer f.Close()
	choice := newChoice(c)
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return choice.unused()
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", c.Source, err)
		}
		name := clean(h.Name)
		if name == "" || !choice.takes(name) {
			continue
		}
		it := &item{header: tar.Header{
			Name: choice.place(name), Linkname: h.Linkname, Typeflag: h.Typeflag,
			Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid,
		}}
		for key, value := range h.PAXRecords {
			if attr, ok := strings.CutPrefix(key, xattrRecord); ok {
				it.setXattr(attr, value)
			}
		}
		switch h.Typeflag {
		case tar.TypeReg:
			data, err := io.ReadAll(r)
			if err != nil {
				return fmt.Errorf("reading %s of %s: %w", h.Name, c.Source, err)
			}
			it.data = func() ([]byte, error) { return data, nil }
		case tar.TypeLink:
			it.header.Linkname = choice.place(clean(h.Linkname))
		case tar.TypeDir, tar.TypeSymlink:
		default:
			return fmt.Errorf("reading %s: %s is of type %q, which a package cannot hold", c.Source, h.Name, h.Typeflag)
		}
		if err := t.put(it); err != nil {
			return fmt.Errorf("reading %s: %w", c.Source, err)
		}
	}
}

// addTree takes a directory of this machine: symbolic links are followed, as
// build tools make trees of them, and of the modes only "executable" counts.
func (t tree) addTree(c *Content) error {
	choice := newChoice(c)
	err := walk(c.Source, "", func(name string, info fs.FileInfo) error {
		if !choice.takes(name) {
			return nil
		}
		it := &item{header: tar.Header{Name: choice.place(name), Mode: 0o755, Typeflag: tar.TypeDir}}
		if !info.IsDir() {
			it.header.Typeflag = tar.TypeReg
			if info.Mode()&0o111 == 0 {
				it.header.Mode = 0o644
			}
			it.data = func() ([]byte, error) { return os.ReadFile(filepath.Join(c.Source, name)) }
		}
		return t.put(it)
	})
	if err != nil {
		return fmt.Errorf("reading %s: %w", c.Source, err)
	}
	return choice.unused()
}

// walk visits what lies below root/dir, following symbolic links.
func walk(root, dir string, visit func(string, fs.FileInfo) error) error {
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			return err
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return fmt.Errorf("%s is neither file nor directory", name)
		}
		if err := visit(name, info); err != nil {
			return err
		}
		if info.IsDir() {
			if err := walk(root, name, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// clean makes a tar's name a path without leading "./" or "/"; "" is the root.
func clean(name string) string { return path.Clean("/" + name)[1:] }
