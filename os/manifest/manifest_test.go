package manifest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sample has one entry of every type, and every byte a name can have.
func sample() []Entry {
	odd := make([]byte, 0, 256)
	for c := 1; c < 256; c++ {
		if c != '/' {
			odd = append(odd, byte(c))
		}
	}
	return []Entry{
		{Path: "dev", Mode: unix.S_IFDIR | 0o755},
		{Path: "dev/console", Mode: unix.S_IFCHR | 0o600, Major: 5, Minor: 1},
		{Path: "dev/sda", Mode: unix.S_IFBLK | 0o660, GID: 6, Major: 8, Minor: 300},
		{Path: "init", Mode: unix.S_IFLNK | 0o777, Target: "usr/bin/ember with space"},
		{Path: "odd", Mode: unix.S_IFREG | 0o4755, UID: 65534, GID: 65534, Size: 1 << 32, Xattrs: map[string]string{
			"security.capability": "\x01\x00\x00\x02", "user.empty": "", "user.a=b c": "=",
		}},
		{Path: "odd/" + string(odd), Mode: unix.S_IFIFO | 0o1777},
		{Path: "sock", Mode: unix.S_IFSOCK},
	}
}

const golden = `#mtree
./dev type=dir mode=0755 uid=0 gid=0
./dev/console type=char mode=0600 uid=0 gid=0 device=linux,5,1
./dev/sda type=block mode=0660 uid=0 gid=6 device=linux,8,300
./init type=link mode=0777 uid=0 gid=0 link=usr/bin/ember\040with\040space
./odd type=file mode=4755 uid=65534 gid=65534 size=4294967296 xattr.security.capability=AQAAAg== xattr.user.a\075b\040c=PQ== xattr.user.empty=
./odd/`

func TestGoldenAndRoundTrip(t *testing.T) {
	want := sample()
	var b bytes.Buffer
	if err := Write(&b, want); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(b.String(), golden) || !strings.HasSuffix(b.String(), "./sock type=socket mode=0000 uid=0 gid=0\n#entries 7\n") {
		t.Errorf("Write gave\n%s", b.String())
	}
	got, err := Read(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Read gave\n%+v, want\n%+v", got, want)
	}
}

// A list cut short anywhere but before its last newline is not taken.
func TestReadTruncated(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, sample()); err != nil {
		t.Fatal(err)
	}
	for n := range b.Len() - 1 {
		if _, err := Read(bytes.NewReader(b.Bytes()[:n])); err == nil {
			t.Fatalf("the first %d of %d bytes were taken for a manifest", n, b.Len())
		}
	}
	_, err := Read(strings.NewReader("#mtree\n./a type=dir mode=0755 uid=0 gid=0\n"))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a manifest without its end: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, line := range []string{
		"a type=dir mode=0755 uid=0 gid=0",
		"./ type=dir mode=0755 uid=0 gid=0",
		"./../a type=dir mode=0755 uid=0 gid=0",
		"./a/../b type=dir mode=0755 uid=0 gid=0",
		"./a/ type=dir mode=0755 uid=0 gid=0",
		`./a\000 type=dir mode=0755 uid=0 gid=0`,
		`./a\00 type=dir mode=0755 uid=0 gid=0`,
		`./a\777 type=dir mode=0755 uid=0 gid=0`,
		"./a type=door mode=0755 uid=0 gid=0",
		"./a type=dir mode=10000 uid=0 gid=0",
		"./a type=dir mode=0755 uid=-1 gid=0",
		"./a type=dir mode=0755 gid=0",
		"./a type=dir mode=0755 uid=0 gid=0 size=1",
		"./a type=dir type=file mode=0755 uid=0 gid=0 size=1",
		"./a type=file mode=0755 uid=0 gid=0",
		"./a type=file mode=0755 uid=0 gid=0 size=-1",
		"./a type=link mode=0777 uid=0 gid=0 link=",
		"./a type=char mode=0600 uid=0 gid=0 device=linux,1",
		"./a type=char mode=0600 uid=0 gid=0 device=linux,1,2,3",
		"./a type=dir mode=0755 uid=0 gid=0 colour=red",
		"./a type=dir mode=0755 uid=0 gid=0 xattr.user.a=%",
		"./a  type=dir mode=0755 uid=0 gid=0",
	} {
		if got, err := Read(strings.NewReader("#mtree\n" + line + "\n#entries 1\n")); err == nil {
			t.Errorf("Read took %q as %+v", line, got)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, e := range []Entry{
		{Path: "/a", Mode: unix.S_IFDIR},
		{Path: ".", Mode: unix.S_IFDIR},
		{Path: "a/../b", Mode: unix.S_IFDIR},
		{Path: "a", Mode: 0o755},
		{Path: "a", Mode: unix.S_IFLNK},
		{Path: "a", Mode: unix.S_IFREG, Target: "b"},
		{Path: "a", Mode: unix.S_IFREG, Size: -1},
	} {
		if err := Write(io.Discard, []Entry{e}); err == nil {
			t.Errorf("Write took %+v", e)
		}
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("#mtree\n./a type=dir mode=0755 uid=0 gid=0\n#entries 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := Write(&b, first); err != nil {
			t.Fatalf("Read took what Write refuses: %v", err)
		}
		second, err := Read(&b)
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%+v became %+v: %v", first, second, err)
		}
	})
}

// tree makes the files that its entries describe.
func tree(t testing.TB) (string, []Entry) {
	t.Helper()
	root := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755),
		os.WriteFile(filepath.Join(root, "usr/bin/ember"), []byte("program"), 0o755),
		os.Symlink("usr/bin", filepath.Join(root, "bin")),
		unix.Mkfifo(filepath.Join(root, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return root, []Entry{
		{Path: "bin", Mode: unix.S_IFLNK | 0o777, Target: "usr/bin"},
		{Path: "pipe", Mode: unix.S_IFIFO | 0o600},
		{Path: "usr", Mode: unix.S_IFDIR | 0o755},
		{Path: "usr/bin", Mode: unix.S_IFDIR | 0o755},
		{Path: "usr/bin/ember", Mode: unix.S_IFREG | 0o755, Size: 7},
	}
}

func TestVerify(t *testing.T) {
	root, entries := tree(t)
	if err := Verify(root, entries); err != nil {
		t.Fatalf("a complete tree: %v", err)
	}
	for _, err := range []error{
		os.Truncate(filepath.Join(root, "usr/bin/ember"), 3),
		os.Remove(filepath.Join(root, "bin")),
		os.Remove(filepath.Join(root, "pipe")),
		os.WriteFile(filepath.Join(root, "pipe"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		entries = append(entries, Entry{Path: "pipe/" + string(rune('a'+i)), Mode: unix.S_IFREG})
	}
	err := Verify(root, entries)
	var incomplete *IncompleteError
	if !errors.As(err, &incomplete) {
		t.Fatalf("an incomplete tree: %v", err)
	}
	want := IncompleteError{Entries: 15, Missing: 11, Damaged: 2, First: []string{"bin", "pipe", "usr/bin/ember", "pipe/a", "pipe/b"}}
	if !reflect.DeepEqual(*incomplete, want) {
		t.Errorf("got %+v, want %+v", *incomplete, want)
	}
	const text = "the tree is incomplete: of 15 entries 11 are missing and 2 damaged: bin pipe usr/bin/ember pipe/a pipe/b and 8 more"
	if err.Error() != text {
		t.Errorf("got %q, want %q", err, text)
	}
	if err := Verify(filepath.Join(root, "nowhere"), entries); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no tree: %v", err)
	}
}

func TestVerifyDevice(t *testing.T) {
	e := Entry{Path: "null", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 3}
	if err := Verify("/dev", []Entry{e}); err != nil {
		t.Error(err)
	}
	e.Minor = 5
	if err := Verify("/dev", []Entry{e}); err == nil {
		t.Error("another device was taken for /dev/null")
	}
}

func TestRestore(t *testing.T) {
	root, entries := tree(t)
	file := filepath.Join(root, "usr/bin/ember")
	if err := unix.Setxattr(file, "user.probe", []byte("x"), 0); err == unix.ENOTSUP {
		t.Skip("the temporary directory's file system has no user attributes")
	}
	entries[4].Xattrs = map[string]string{"user.a": "1\x00", "user.b": ""}
	entries = append(entries, Entry{Path: "gone", Mode: unix.S_IFREG, Xattrs: map[string]string{"user.a": "1"}})
	err := Restore(root, entries)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("a missing file: %v", err)
	}
	value := make([]byte, 8)
	if n, err := unix.Getxattr(file, "user.a", value); err != nil || string(value[:n]) != "1\x00" {
		t.Errorf("user.a is %q: %v", value[:max(n, 0)], err)
	}
	if n, err := unix.Getxattr(file, "user.b", value); err != nil || n != 0 {
		t.Errorf("user.b has %d bytes: %v", n, err)
	}
}

func BenchmarkVerify(b *testing.B) {
	root, entries := tree(b)
	for range b.N {
		if err := Verify(root, entries); err != nil {
			b.Fatal(err)
		}
	}
}
