package initrd

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"path"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/manifest"
	"github.com/ember-os/ember/os/packed"
	"github.com/ember-os/ember/tools/initrd/tree"
)

// large is the sample with a large program in package ember, which has two names.
func large(t *testing.T) *tree.Tree { return sample(t, strings.Repeat("x", packedSize)) }

// TestPack has all large files of a package, and no others, replaced by links that lead to them.
func TestPack(t *testing.T) {
	tr := large(t)
	entries, err := Pack(tr, "xz", []string{"ember"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Path)
		if e.IsDir() {
			continue
		}
		name, _ := tr.Resolve(e.Path)
		if _, is := tr.File(name); is {
			t.Errorf("%s is in the tree still", e.Path)
		}
	}
	want := []string{"usr", "usr/bin", "usr/bin/agent", "usr/bin/ember", "usr/lib", "usr/lib/own", "usr/lib/own/data"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := AddImage(tr, "xz", []byte("hsqs")); err != nil {
		t.Fatal(err)
	}
	a, err := Split(tr, []string{"ember"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range a.Packed {
		names = append(names, "/"+e.Path)
	}
	if !reflect.DeepEqual(names, []string{packed.Image("xz"), "/" + endPath}) {
		t.Errorf("the last archive holds %q", names)
	}
	links := 0
	for _, e := range append(a.First, a.Rest...) {
		if packed.IsImage("/"+e.Path) || e.Path == endPath {
			t.Errorf("%s is in another archive", e.Path)
		}
		if strings.HasPrefix(e.Target, packed.Dir("xz")) {
			links++
			if e.Target != path.Join(packed.Dir("xz"), e.Path) {
				t.Errorf("%s leads to %s", e.Path, e.Target)
			}
		}
	}
	if links != 3 {
		t.Errorf("%d links", links)
	}
	for _, e := range a.First {
		if "/"+e.Path == manifest.Path && !bytes.Contains(e.Data, []byte("packed/xz.squashfs")) {
			t.Error("the manifest does not have the packed files")
		}
	}
}

func TestPackNothing(t *testing.T) {
	entries, err := Pack(sample(t, "small"), "xz", []string{"ember"})
	if err != nil || len(entries) != 0 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	if _, err := Pack(large(t), "xz", []string{"none"}); err == nil {
		t.Error("a package that is not there is packed")
	}
}

// TestWriteTar reads the archive as the library does.
func TestWriteTar(t *testing.T) {
	file := &tree.Inode{Mode: unix.S_IFREG | 0o4755, UID: 1, GID: 2, Data: []byte("hello"), Xattrs: map[string]string{"security.capability": "\x01\x00"}}
	var b bytes.Buffer
	if err := WriteTar(&b, []tree.Entry{{Path: "a", Inode: &tree.Inode{Mode: unix.S_IFDIR | 0o1750}}, {Path: "a/f", Inode: file}, {Path: "a/g", Inode: file}}); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(&b)
	var got []tar.Header
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(r); err != nil || h.Size > 0 && string(content) != "hello" {
			t.Errorf("%s holds %q, %v", h.Name, content, err)
		}
		got = append(got, tar.Header{Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, PAXRecords: h.PAXRecords})
	}
	xattr := map[string]string{"SCHILY.xattr.security.capability": "\x01\x00"}
	want := []tar.Header{
		{Typeflag: tar.TypeDir, Name: "a", Mode: 0o1750},
		{Typeflag: tar.TypeReg, Name: "a/f", Mode: 0o4755, Uid: 1, Gid: 2, PAXRecords: xattr},
		{Typeflag: tar.TypeLink, Name: "a/g", Linkname: "a/f", Mode: 0o4755, Uid: 1, Gid: 2, PAXRecords: xattr},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
