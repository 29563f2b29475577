package apk

import (
	"archive/tar"
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

var epoch = time.Unix(1700000000, 0).UTC()

func testKey(t testing.TB) *Key {
	t.Helper()
	text, err := os.ReadFile("testdata/test.rsa")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey("test.rsa.pub", text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sources writes files to pack and gives their directory.
func sources(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./bin/su", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 2, Uname: "someone",
			PAXRecords: map[string]string{"SCHILY.xattr.user.a": "v"}},
		{Name: "./bin/a-link", Typeflag: tar.TypeLink, Linkname: "./bin/su", Mode: 0o4755},
		{Name: "./bin/sh", Typeflag: tar.TypeSymlink, Linkname: "su"},
		{Name: "./usr/share/doc/su/copyright", Typeflag: tar.TypeReg, Mode: 0o644, Size: 2},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, "su")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var owned bytes.Buffer
	if err := tar.NewWriter(&owned).WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Gid: 42}); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "data.tar"), b.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, "owned.tar"), owned.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, "hello"), []byte("hello\n"), 0o600),
		os.MkdirAll(filepath.Join(dir, "tree/d"), 0o700),
		os.WriteFile(filepath.Join(dir, "tree/d/run"), []byte("#!"), 0o500),
		os.Symlink("../hello", filepath.Join(dir, "tree/seen")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func testSpec(dir string) *Spec {
	return &Spec{
		Info: Info{
			Name: "sample", Version: "1.2_p3-r4", Arch: "x86_64", Description: "A sample",
			URL: "https://example.com", License: "MIT", Origin: "sample-src",
			Depends: []string{"base", "so:libc.musl-x86_64.so.1"}, Provides: []string{"cmd:hello=1.2"},
		},
		Contents: []Content{
			{Type: "file", Path: "usr/bin/hello", Source: filepath.Join(dir, "hello"), Mode: "755",
				Xattrs: map[string][]byte{"security.capability": {1, 0, 0, 2}}},
			{Type: "symlink", Path: "bin", Target: "usr/bin"},
			{Type: "hardlink", Path: "usr/bin/ahoy", Target: "usr/bin/hello"},
			{Type: "directory", Path: "var/tmp", Mode: "700"},
			{Type: "tar", Source: filepath.Join(dir, "data.tar"), Exclude: []string{"usr/share/doc"}, Rename: map[string]string{"bin": "usr/bin"}},
			{Type: "tree", Path: "opt", Source: filepath.Join(dir, "tree")},
		},
	}
}

func build(t testing.TB, spec *Spec) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Build(&b, spec, testKey(t), epoch); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// listing describes the tar entries of all members of a package.
func listing(t *testing.T, data []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(h.Name, ".SIGN") {
			content = nil
		}
		if h.ModTime.Unix() != epoch.Unix() && h.ModTime.Unix() != 0 {
			t.Errorf("%s has time %v", h.Name, h.ModTime)
		}
		fmt.Fprintf(&b, "%c %o %d:%d%s%s %s %q %q\n", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.Name, h.Linkname, content)
		for _, key := range []string{checksumRecord, xattrRecord + "security.capability", xattrRecord + "user.a"} {
			if v, ok := h.PAXRecords[key]; ok {
				fmt.Fprintf(&b, "  %s=%q\n", key, v)
			}
		}
	}
}

func TestBuild(t *testing.T) {
	dir := sources(t)
	data := build(t, testSpec(dir))
	want, err := os.ReadFile("testdata/sample.listing")
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(t, data); got != string(want) {
		t.Errorf("the package holds\n%s\nwant\n%s", got, want)
	}
	if again := build(t, testSpec(sources(t))); !bytes.Equal(data, again) {
		t.Error("a second build gave other bytes")
	}
	// The golden hash changes with the compressor's version too.
	const golden = "ac679845698573b42d59ff2c611bbe5bbae742eeecf524bd81197bf12106aeaf"
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != golden {
		t.Errorf("the package has SHA-256 %s, want %s", got, golden)
	}
}

func TestReadBack(t *testing.T) {
	spec := testSpec(sources(t))
	data := build(t, spec)
	p, err := Read(data)
	if err != nil {
		t.Fatal(err)
	}
	want := spec.Info
	want.BuildDate, want.Size, want.DataHash = epoch.Unix(), p.Size, p.DataHash
	if !reflect.DeepEqual(p.Info, want) {
		t.Errorf("Read gave\n%+v, want\n%+v", p.Info, want)
	}
	if p.Size != 6+6+2+2 || p.Length != int64(len(data)) || p.FileName() != "sample-1.2_p3-r4.apk" {
		t.Errorf("size %d, length %d, name %s", p.Size, p.Length, p.FileName())
	}
	data[len(data)-12] ^= 1
	if _, err := Read(data); err == nil || !strings.Contains(err.Error(), "hash") {
		t.Errorf("a package with a changed byte: %v", err)
	}
}

// verify checks the signature in the first member over signed.
func verify(t *testing.T, first, signed []byte) {
	t.Helper()
	entries, _, _, err := nextMember(first)
	if err != nil {
		t.Fatal(err)
	}
	public, err := testKey(t).Public()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(public)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(signed)
	if err := rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), crypto.SHA256, sum[:], entries[".SIGN.RSA256.test.rsa.pub"]); err != nil {
		t.Error(err)
	}
}

func TestSignatures(t *testing.T) {
	data := build(t, testSpec(sources(t)))
	_, _, rest, err := nextMember(data)
	if err != nil {
		t.Fatal(err)
	}
	_, control, _, err := nextMember(rest)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, data, control)
}

func TestIndex(t *testing.T) {
	one, err := Read(build(t, testSpec(sources(t))))
	if err != nil {
		t.Fatal(err)
	}
	two := *one
	two.Name, two.Depends = "another", nil
	var b bytes.Buffer
	if err := WriteIndex(&b, "test", []*Package{one, &two}, testKey(t)); err != nil {
		t.Fatal(err)
	}
	_, _, rest, err := nextMember(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	verify(t, b.Bytes(), rest)
	entries, _, _, err := nextMember(rest)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/sample.index")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(entries["APKINDEX"]); got != string(want) {
		t.Errorf("the index is\n%s, want\n%s", got, want)
	}
	if got := string(entries["DESCRIPTION"]); got != "test" {
		t.Errorf("the description is %q", got)
	}
	if err := WriteIndex(&b, "", []*Package{one, one}, testKey(t)); err == nil {
		t.Error("a package was listed twice")
	}
}

func TestBuildRefuses(t *testing.T) {
	dir := sources(t)
	file := Content{Type: "file", Path: "f", Source: filepath.Join(dir, "hello")}
	archive := filepath.Join(dir, "data.tar")
	for name, change := range map[string]func(*Spec){
		"name":              func(s *Spec) { s.Name = "a/b" },
		"version":           func(s *Spec) { s.Version = "1.2-3+deb12" },
		"arch":              func(s *Spec) { s.Arch = "" },
		"licence":           func(s *Spec) { s.License = "" },
		"newline":           func(s *Spec) { s.Description = "a\nlicense = MIT" },
		"comment":           func(s *Spec) { s.Description = "a # b" },
		"type":              func(s *Spec) { s.Contents = []Content{{Type: "device", Path: "d"}} },
		"absolute":          func(s *Spec) { s.Contents = []Content{{Type: "directory", Path: "/d"}} },
		"dots":              func(s *Spec) { s.Contents = []Content{{Type: "directory", Path: "a/../../d"}} },
		"empty":             func(s *Spec) { s.Contents = []Content{{Type: "directory"}} },
		"mode":              func(s *Spec) { s.Contents = []Content{{Type: "directory", Path: "d", Mode: "rwx"}} },
		"sticky":            func(s *Spec) { s.Contents = []Content{{Type: "directory", Path: "d", Mode: "1777"}} },
		"owner":             func(s *Spec) { s.Contents = []Content{{Type: "tar", Source: filepath.Join(dir, "owned.tar")}} },
		"twice":             func(s *Spec) { s.Contents = []Content{file, file} },
		"no source":         func(s *Spec) { s.Contents = []Content{{Type: "file", Path: "f", Source: dir + "/none"}} },
		"no target":         func(s *Spec) { s.Contents = []Content{{Type: "symlink", Path: "f"}} },
		"below file":        func(s *Spec) { s.Contents = []Content{file, {Type: "directory", Path: "f/d"}} },
		"hard link":         func(s *Spec) { s.Contents = []Content{{Type: "hardlink", Path: "f", Target: "g"}} },
		"useless include":   func(s *Spec) { s.Contents = []Content{{Type: "tar", Source: archive, Include: []string{"bin/none"}}} },
		"useless exclude":   func(s *Spec) { s.Contents = []Content{{Type: "tar", Source: archive, Exclude: []string{"etc"}}} },
		"link without file": func(s *Spec) { s.Contents = []Content{{Type: "tar", Source: archive, Include: []string{"bin/a-*"}}} },
		"no tar":            func(s *Spec) { s.Contents = []Content{{Type: "tar", Source: filepath.Join(dir, "hello")}} },
	} {
		spec := testSpec(dir)
		change(spec)
		if err := Build(io.Discard, spec, testKey(t), epoch); err == nil {
			t.Errorf("%s: a package was built of %+v", name, spec)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	text, err := os.ReadFile("testdata/test.rsa")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"test.rsa": text, "test.pub": text, "../test.rsa.pub": text, "test.rsa.pub": []byte("no key")} {
		if _, err := ParseKey(name, text); err == nil {
			t.Errorf("key %q was taken", name)
		}
	}
}

// A package made elsewhere: no signature, foreign keys, a comment, quotes.
func TestReadForeign(t *testing.T) {
	data := []byte("anything")
	sum := sha256.Sum256(data)
	var b bytes.Buffer
	s := newSegment(&b)
	text := fmt.Sprintf("# made by hand\npkgname = x\npkgver=1-r0\narch = noarch\npkgdesc = the \"x\" # of = signs\npackager = me\ndepend = a\ndepend = b>=1\ndatahash = %x\n", sum)
	if err := errors.Join(s.file(".PKGINFO", []byte(text), epoch), s.close(false)); err != nil {
		t.Fatal(err)
	}
	p, err := Read(append(b.Bytes(), data...))
	if err != nil {
		t.Fatal(err)
	}
	if p.Description != `the "x" # of = signs` || !reflect.DeepEqual(p.Depends, []string{"a", "b>=1"}) {
		t.Errorf("Read gave %+v", p.Info)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(build(f, testSpec(sources(f))))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Read(data)
		if err != nil {
			return
		}
		if err := WriteIndex(io.Discard, "", []*Package{p}, testKey(t)); err != nil {
			t.Error(err)
		}
	})
}

func FuzzPkginfo(f *testing.F) {
	f.Add("pkgname = x\nsize = 3\ndepend = a\ndepend = b\n")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := parsePkginfo(text)
		if err != nil {
			return
		}
		second, err := parsePkginfo(string(first.pkginfo()))
		if err != nil || first.checkOwn() == nil && !reflect.DeepEqual(first, second) {
			t.Errorf("%+v became %+v: %v", first, second, err)
		}
	})
}
