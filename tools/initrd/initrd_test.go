package initrd

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/manifest"
	"github.com/ember-os/ember/tools/initrd/tree"
)

// installed is the database of the image that sample makes.
const installed = `P:base
V:1
F:
R:bin
F:dev
F:etc
R:passwd
F:usr
F:usr/bin
R:sh
R:ash
F:tmp

P:ember
V:2
F:
R:init
F:usr
F:usr/bin
R:ember
R:agent
F:bin
R:late
F:usr/lib
F:usr/lib/own
R:data
F:etc

`

// sample is an image of two packages; program is what ember holds.
func sample(t testing.TB, program string, extra ...tar.Header) *tree.Tree {
	t.Helper()
	headers := []tar.Header{
		{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
		{Name: "dev", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "dev/console", Typeflag: tar.TypeChar, Mode: 0o600, Devmajor: 5, Devminor: 1},
		{Name: "dev/sda", Typeflag: tar.TypeBlock, Mode: 0o660, Gid: 6, Devmajor: 8, Devminor: 0xfffff},
		{Name: "etc", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644, Size: 5},
		{Name: "etc/apk/world", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(program))},
		{Name: "init", Typeflag: tar.TypeSymlink, Linkname: "usr/bin/ember"},
		{Name: "run/pipe", Typeflag: tar.TypeFifo, Mode: 0o600, Uid: 65534, Gid: 65534},
		{Name: "tmp", Typeflag: tar.TypeDir, Mode: 0o1777},
		{Name: "usr/bin/sh", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 2},
		{Name: "usr/bin/ash", Typeflag: tar.TypeLink, Linkname: "usr/bin/sh"},
		{Name: "usr/bin/ember", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program)),
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00"}},
		{Name: "usr/bin/agent", Typeflag: tar.TypeLink, Linkname: "usr/bin/ember"},
		{Name: "usr/bin/late", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "usr/lib/own/data", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(program))},
		{Name: "usr/lib/apk/db/installed", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(installed))},
		{Name: "var/empty", Typeflag: tar.TypeDir, Mode: 0o755},
	}
	contents := map[string]string{"etc/passwd": "root\n", "usr/bin/sh": "sh", "usr/lib/apk/db/installed": installed}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range append(headers, extra...) {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		content, ok := contents[h.Name]
		if !ok && h.Size > 0 {
			content = program
		}
		io.WriteString(w, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tr := tree.New()
	if err := tr.Apply(&b); err != nil {
		t.Fatal(err)
	}
	return tr
}

// archives splits the sample and writes both archives.
func archives(t testing.TB, tr *tree.Tree) (first, rest []byte) {
	t.Helper()
	a, err := Split(tr, []string{"ember"})
	if err != nil {
		t.Fatal(err)
	}
	return archive(t, a.First), archive(t, a.Rest)
}

func archive(t testing.TB, entries []tree.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteArchive(&b, entries); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// list reads an archive as the library reads it; device numbers, which it
// passes over, come from the raw header.
func list(t testing.TB, data []byte) string {
	t.Helper()
	var b strings.Builder
	for c := cpio.NewReader(bytes.NewReader(data)); ; {
		h, err := c.Next()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%d %o %d:%d nlink=%d time=%d %s", h.Inode, h.Mode, h.Uid, h.Guid, h.Links, h.ModTime.Unix(), h.Name)
		if h.Linkname != "" {
			fmt.Fprintf(&b, " -> %s", h.Linkname)
		}
		if h.Mode&0o170000 == unix.S_IFCHR || h.Mode&0o170000 == unix.S_IFBLK {
			header := data[bytes.Index(data, []byte(h.Name+"\x00"))-headerSize:]
			fmt.Fprintf(&b, " %s %s", header[62:78], header[majorAt:minorEnd])
		}
		if len(content) > 0 && len(content) < 20 {
			fmt.Fprintf(&b, " %q", content)
		}
		b.WriteByte('\n')
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	want, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestArchives(t *testing.T) {
	first, rest := archives(t, sample(t, "program"))
	golden(t, "first.list", list(t, first))
	golden(t, "rest.list", list(t, rest))
	for _, a := range [][]byte{first, rest} {
		if len(a)%alignment != 0 || !bytes.Contains(a[len(a)-16:], []byte("TRAILER!!!\x00")) {
			t.Errorf("an archive of %d bytes ends in %q", len(a), a[len(a)-16:])
		}
	}
}

// The bytes of an archive, written down by hand from the kernel's documentation.
func TestGoldenBytes(t *testing.T) {
	file := &tree.Inode{Mode: unix.S_IFREG | 0o4755, UID: 1, GID: 0xfffe, Data: []byte("hello")}
	got := archive(t, []tree.Entry{
		{Path: "c", Inode: &tree.Inode{Mode: unix.S_IFCHR | 0o600, Major: 5, Minor: 0x1234}},
		{Path: "f", Inode: file},
		{Path: "g", Inode: file},
		{Path: "ln", Inode: &tree.Inode{Mode: unix.S_IFLNK | 0o777, Target: "f"}},
	})
	want := "" +
		"070701" + "00000001" + "00002180" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
		"00000000" + "00000000" + "00000005" + "00001234" + "00000002" + "00000000" + "c\x00" +
		"070701" + "00000002" + "000089ED" + "00000001" + "0000FFFE" + "00000002" + "00000000" + "00000005" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "f\x00" + "hello\x00\x00\x00" +
		"070701" + "00000002" + "000089ED" + "00000001" + "0000FFFE" + "00000002" + "00000000" + "00000000" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "g\x00" +
		"070701" + "00000004" + "0000A1FF" + "00000000" + "00000000" + "00000001" + "00000000" + "00000001" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000003" + "00000000" + "ln\x00\x00\x00\x00" + "f\x00\x00\x00" +
		"070701" + "00000000" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
		"00000000" + "00000000" + "00000000" + "00000000" + "0000000B" + "00000000" + "TRAILER!!!\x00\x00\x00\x00"
	if string(got) != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// What the first archive's packages hold does not show in the second.
func TestRestIsIndependent(t *testing.T) {
	_, one := archives(t, sample(t, "program"))
	_, two := archives(t, sample(t, "another program"))
	if !bytes.Equal(one, two) {
		t.Error("the second archive changed with the program")
	}
}

func TestManifest(t *testing.T) {
	tr := sample(t, "program")
	a, err := Split(tr, []string{"ember"})
	if err != nil {
		t.Fatal(err)
	}
	var entries []manifest.Entry
	for _, e := range a.First {
		if "/"+e.Path == manifest.Path {
			if entries, err = manifest.Read(bytes.NewReader(e.Data)); err != nil {
				t.Fatal(err)
			}
		}
	}
	byPath := map[string]manifest.Entry{}
	for _, e := range entries {
		byPath[e.Path] = e
	}
	if len(entries) != len(tr.Entries())-1 {
		t.Errorf("%d entries for %d files", len(entries), len(tr.Entries()))
	}
	want := manifest.Entry{Path: "usr/bin/ember", Mode: unix.S_IFREG | 0o755, Size: 7, Xattrs: map[string]string{"security.capability": "\x01\x00"}}
	if got := byPath[want.Path]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if e := byPath["dev/sda"]; e.Major != 8 || e.Minor != 0xfffff {
		t.Errorf("got %+v", e)
	}
}

func TestSplitRefuses(t *testing.T) {
	if _, err := Split(sample(t, "p"), []string{"none"}); err == nil || !strings.Contains(err.Error(), "not in the image") {
		t.Errorf("an unknown package: %v", err)
	}
	if _, err := Split(tree.New(), nil); err == nil || !strings.Contains(err.Error(), "/init") {
		t.Errorf("no init: %v", err)
	}
	linked := tar.Header{Name: "etc/again", Typeflag: tar.TypeLink, Linkname: "usr/bin/ember"}
	if _, err := Split(sample(t, "p", linked), []string{"ember"}); err == nil || !strings.Contains(err.Error(), "two archives") {
		t.Errorf("a hard link across archives: %v", err)
	}
	taken := tar.Header{Name: manifest.Path[1:], Typeflag: tar.TypeReg}
	if _, err := Split(sample(t, "p", taken), []string{"ember"}); err == nil {
		t.Error("a manifest in the image was written over")
	}
}

func TestWriteArchiveRefuses(t *testing.T) {
	for name, e := range map[string]tree.Entry{
		"end":       {Path: "TRAILER!!!", Inode: &tree.Inode{Mode: unix.S_IFREG}},
		"long name": {Path: strings.Repeat("a", 256), Inode: &tree.Inode{Mode: unix.S_IFREG}},
		"long path": {Path: strings.Repeat("a/", 2047) + "ab", Inode: &tree.Inode{Mode: unix.S_IFREG}},
		"long link": {Path: "a", Inode: &tree.Inode{Mode: unix.S_IFLNK, Target: strings.Repeat("a", 4096)}},
		"major":     {Path: "a", Inode: &tree.Inode{Mode: unix.S_IFCHR, Major: 4096}},
		"minor":     {Path: "a", Inode: &tree.Inode{Mode: unix.S_IFCHR, Minor: 1 << 20}},
	} {
		if err := WriteArchive(io.Discard, []tree.Entry{e}); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	longest := tree.Entry{Path: strings.Repeat("a/", 2047) + "a", Inode: &tree.Inode{Mode: unix.S_IFREG}}
	if !strings.Contains(list(t, archive(t, []tree.Entry{longest})), longest.Path) {
		t.Error("the longest path was not read back")
	}
}

func TestCompress(t *testing.T) {
	data := bytes.Repeat([]byte("an archive "), 1<<20)
	var b bytes.Buffer
	if err := Compress(&b, data, 1<<20); err != nil {
		t.Fatal(err)
	}
	var header zstd.Header
	if err := header.Decode(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if header.SingleSegment || header.WindowSize != 1<<20 || !header.HasCheckSum {
		t.Errorf("the frame has header %+v", header)
	}
	r, err := zstd.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("unpacked to %d bytes: %v", len(got), err)
	}
	if err := Compress(io.Discard, data, 256<<20); err == nil {
		t.Error("a window the kernel does not take was taken")
	}
}

func TestJoin(t *testing.T) {
	var b bytes.Buffer
	if err := Join(&b, []byte("\x28\xb5abc"), []byte("0707a"), []byte("\x28\xb5d")); err != nil {
		t.Fatal(err)
	}
	if want := "\x28\xb5abc\x00\x00\x000707a\x28\xb5d"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// What the archive writer takes, the library reads back as it was.
func FuzzWriteArchive(f *testing.F) {
	f.Add("a/b", uint32(unix.S_IFREG|0o644), uint32(0), "", []byte("x"))
	f.Add("s", uint32(unix.S_IFLNK|0o777), uint32(7), "target", []byte{})
	f.Fuzz(func(t *testing.T, name string, mode, id uint32, target string, data []byte) {
		inode := &tree.Inode{Mode: mode & 0o177777, UID: id, GID: ^id, Data: data}
		if inode.Mode&unix.S_IFMT == unix.S_IFLNK {
			inode.Mode, inode.Data, inode.Target = unix.S_IFLNK|0o777, nil, target
		}
		if name == "" || strings.Contains(name, "\x00") || inode.Mode&unix.S_IFMT == 0 || len(inode.Data)+len(inode.Target) == 0 {
			return
		}
		var b bytes.Buffer
		if WriteArchive(&b, []tree.Entry{{Path: name, Inode: inode}, {Path: name + "2", Inode: inode}}) != nil {
			return
		}
		r := cpio.NewReader(&b)
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || h.Name != name || uint32(h.Mode) != inode.Mode || uint32(h.Uid) != id || uint32(h.Guid) != ^id ||
			h.Linkname != inode.Target || !bytes.Equal(got, inode.Data) || h.Links < 2 {
			t.Errorf("%+v with %q was read as %+v with %q: %v", inode, name, h, got, err)
		}
		if h, err = r.Next(); err != nil || h.Name != name+"2" {
			t.Errorf("the second entry: %+v, %v", h, err)
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("the end: %v", err)
		}
	})
}
