package seal

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/overlay/manifest"
)

func identity(t *testing.T) *age.HybridIdentity {
	t.Helper()
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func describe() *manifest.Manifest {
	return &manifest.Manifest{Format: manifest.Format, Name: "rack", Version: 7, Created: time.Unix(1790000000, 0).UTC()}
}

func hello(w *archive.Writer) error {
	if err := w.Add(archive.Entry{Path: "etc", Kind: archive.Directory, Mode: 0o755}, nil); err != nil {
		return err
	}
	return w.Add(archive.Entry{Path: "etc/motd", Mode: 0o644, Size: 5}, strings.NewReader("hello"))
}

func TestSealAndOpen(t *testing.T) {
	server, m := identity(t), describe()
	var file bytes.Buffer
	if err := Seal(&file, []age.Recipient{server.Recipient()}, m, hello); err != nil {
		t.Fatal(err)
	}
	_, signer, _ := ed25519.GenerateKey(nil)
	signed, err := manifest.Sign(m, signer)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := manifest.Open(signed, manifest.Key(signer.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}

	fileKey, err := FileKey(file.Bytes()[:min(file.Len(), HeaderSize)], server)
	if err != nil {
		t.Fatal(err)
	}
	key, err := extract.Open(fileKey)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = extract.Read(&file, key, trusted, func(e archive.Entry, content io.Reader) error {
		b, err := io.ReadAll(content)
		got = append(got, e.Path+":"+string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(got, " "); s != "etc: etc/motd:hello" {
		t.Errorf("the overlay holds %q", s)
	}
}

// contents gives what an overlay holds, as a line for each entry.
func contents(t *testing.T, file []byte, server age.Identity, m *manifest.Manifest) string {
	t.Helper()
	fileKey, err := FileKey(file, server)
	if err != nil {
		t.Fatal(err)
	}
	key, err := extract.Open(fileKey)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	err = extract.Read(bytes.NewReader(file), key, m, func(e archive.Entry, content io.Reader) error {
		text, err := io.ReadAll(content)
		fmt.Fprintf(&b, "%v %d:%d %s%s=%s\n", e.Mode, e.UID, e.GID, e.Path, []string{"", "/", "@"}[e.Kind], string(text)+e.Target)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(dir+"/etc/rancher", 0o755),
		os.Chmod(dir+"/etc/rancher", 0o700),
		os.WriteFile(dir+"/etc/rancher/config", []byte("secret"), 0o600),
		os.WriteFile(dir+"/etc/a", nil, 0o644),
		os.Link(dir+"/etc/rancher/config", dir+"/etc/second"),
		os.Symlink("../usr/share", dir+"/etc/link"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	server := identity(t)
	var files [2]bytes.Buffer
	var manifests [2]*manifest.Manifest
	for i := range files {
		manifests[i] = describe()
		if err := Seal(&files[i], []age.Recipient{server.Recipient()}, manifests[i], Dir(dir)); err != nil {
			t.Fatal(err)
		}
	}
	want := `-rwxr-xr-x 0:0 etc/=
-rw-r--r-- 0:0 etc/a=
-rwxrwxrwx 0:0 etc/link@=../usr/share
-rwx------ 0:0 etc/rancher/=
-rw------- 0:0 etc/rancher/config=secret
-rw------- 0:0 etc/second=secret
`
	if got := contents(t, files[0].Bytes(), server, manifests[0]); got != want {
		t.Errorf("the overlay holds\n%s", got)
	}
	if bytes.Equal(files[0].Bytes(), files[1].Bytes()) {
		t.Error("two overlays have the same key")
	}
	if a, b := plain(t, files[0].Bytes(), server), plain(t, files[1].Bytes(), server); !bytes.Equal(a, b) {
		t.Error("the same tree gives other bytes")
	}
}

// plain gives what is encrypted.
func plain(t *testing.T, file []byte, server age.Identity) []byte {
	t.Helper()
	r, err := age.Decrypt(bytes.NewReader(file), server)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDirRefuses(t *testing.T) {
	for name, make := range map[string]func(dir string) error{
		"only below": func(dir string) error { return os.WriteFile(dir+"/README", nil, 0o644) },
		"no file":    func(dir string) error { return syscall.Mkfifo(dir+"/etc/fifo", 0o644) },
		"setuid": func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/etc/su", nil, 0o755), os.Chmod(dir+"/etc/su", 0o755|fs.ModeSetuid))
		},
		"not below": func(dir string) error { return os.Symlink("/proc/self", dir+"/etc/self") },
		"case only": func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/etc/a", nil, 0o644), os.WriteFile(dir+"/etc/A", nil, 0o644))
		},
		"with its im": func(dir string) error { return os.MkdirAll(dir+"/etc/ember/attest", 0o755) },
	} {
		dir := t.TempDir()
		if err := errors.Join(os.Mkdir(dir+"/etc", 0o755), make(dir)); err != nil {
			t.Fatal(err)
		}
		if err := Seal(io.Discard, []age.Recipient{identity(t).Recipient()}, describe(), Dir(dir)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the error is %v, not one with %q", err, name)
		}
	}
	if err := Seal(io.Discard, []age.Recipient{identity(t).Recipient()}, describe(), Dir(t.TempDir()+"/none")); err == nil {
		t.Error("a directory that is not there is sealed")
	}
}

func TestTar(t *testing.T) {
	var in bytes.Buffer
	w := tar.NewWriter(&in)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "x"}},
		{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "./etc/", Mode: 0o750, Uid: 1, Gid: 2, ModTime: time.Unix(1e9, 1), Format: tar.FormatPAX},
		{Typeflag: tar.TypeReg, Name: "./etc/a", Mode: 0o640, Uid: 3, Gid: 4, Uname: "me"},
		{Typeflag: tar.TypeSymlink, Name: "etc/link", Linkname: "a"},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	server, m := identity(t), describe()
	var file bytes.Buffer
	if err := Seal(&file, []age.Recipient{server.Recipient()}, m, Tar(bytes.NewReader(in.Bytes()))); err != nil {
		t.Fatal(err)
	}
	want := "-rwxr-x--- 1:2 etc/=\n-rw-r----- 3:4 etc/a=\n-rwxrwxrwx 0:0 etc/link@=a\n"
	if got := contents(t, file.Bytes(), server, m); got != want {
		t.Errorf("the overlay holds\n%s", got)
	}
	for name, bad := range map[string][]byte{"cut short": in.Bytes()[:in.Len()/2-1], "cut short at a block": in.Bytes()[:in.Len()-1024], "compressed": {0x1f, 0x8b, 8, 0}} {
		if err := Seal(io.Discard, []age.Recipient{server.Recipient()}, describe(), Tar(bytes.NewReader(bad))); err == nil {
			t.Errorf("%s: it is sealed", name)
		}
	}
}

func TestTooManyRecipients(t *testing.T) {
	var recipients []age.Recipient
	for n := 1; n < 4; n++ {
		id := identity(t)
		recipients = append(recipients, id.Recipient())
		var file bytes.Buffer
		err := Seal(&file, recipients, describe(), hello)
		if (err == nil) != (n <= 2) {
			t.Errorf("for %d servers the error is %v", n, err)
		}
		if err != nil {
			continue
		}
		if _, err := FileKey(file.Bytes()[:min(file.Len(), HeaderSize)], id); err != nil {
			t.Errorf("for %d servers: %v", n, err)
		}
	}
}

// FuzzFileKey reads the header of any file.
func FuzzFileKey(f *testing.F) {
	server, err := age.GenerateHybridIdentity()
	if err != nil {
		f.Fatal(err)
	}
	var file bytes.Buffer
	if err := Seal(&file, []age.Recipient{server.Recipient()}, describe(), hello); err != nil {
		f.Fatal(err)
	}
	head := file.Bytes()[:min(file.Len(), HeaderSize)]
	f.Add(head)
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := FileKey(b, server)
		if err == nil && len(key) != extract.FileKeySize {
			t.Errorf("the file key is %x", key)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	server, err := age.GenerateHybridIdentity()
	if err != nil {
		b.Fatal(err)
	}
	noise := make([]byte, 32<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	text := bytes.Repeat([]byte("layers of an image are much alike\n"), 1<<20)
	b.SetBytes(int64(len(noise) + len(text)))
	for b.Loop() {
		err := Seal(io.Discard, []age.Recipient{server.Recipient()}, describe(), func(w *archive.Writer) error {
			return errors.Join(w.Add(archive.Entry{Path: "opt/noise", Mode: 0o644, Size: int64(len(noise))}, bytes.NewReader(noise)),
				w.Add(archive.Entry{Path: "opt/text", Mode: 0o644, Size: int64(len(text))}, bytes.NewReader(text)))
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFileKey(b *testing.B) {
	server, err := age.GenerateHybridIdentity()
	if err != nil {
		b.Fatal(err)
	}
	var file bytes.Buffer
	if err := Seal(&file, []age.Recipient{server.Recipient()}, describe(), hello); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := FileKey(file.Bytes(), server); err != nil {
			b.Fatal(err)
		}
	}
}

func TestFileKeyOfAnotherServer(t *testing.T) {
	var file bytes.Buffer
	if err := Seal(&file, []age.Recipient{identity(t).Recipient()}, describe(), hello); err != nil {
		t.Fatal(err)
	}
	if _, err := FileKey(file.Bytes(), identity(t)); err == nil {
		t.Error("it opens what is sealed to another server")
	}
}

// TestGolden opens what was sealed when this was written.
func TestGolden(t *testing.T) {
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile("testdata/golden." + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	keys, err := manifest.ParseKeys(string(read("keys")))
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Open(read("manifest"), keys...)
	if err != nil {
		t.Fatal(err)
	}
	server, err := age.ParseHybridIdentity(strings.TrimSpace(string(read("identity"))))
	if err != nil {
		t.Fatal(err)
	}
	want := `-rwxr-xr-x 0:0 etc/=
-rw-r--r-- 0:0 etc/motd=a file

-rwxr-xr-x 0:0 etc/systemd/=
-rwxr-xr-x 0:0 etc/systemd/system/=
-rwxr-xr-x 0:0 etc/systemd/system/multi-user.target.wants/=
-rwxrwxrwx 0:0 etc/systemd/system/multi-user.target.wants/containerd.service@=/usr/lib/systemd/system/containerd.service
-rwxr-xr-x 0:0 usr/=
-rwxr-xr-x 0:0 usr/local/=
-rwxr-xr-x 0:0 usr/local/bin/=
-rwxr-xr-x 0:0 usr/local/bin/x=#!/bin/sh

`
	if got := contents(t, read("age"), server, m); got != want || m.String() != "golden-7" {
		t.Errorf("overlay %s holds\n%s", m, got)
	}
}
