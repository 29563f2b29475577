package extract

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/manifest"
)

// FuzzExtract stages and commits whatever is inside a ciphertext that is as its manifest says: a compressed
// archive, or an archive.
func FuzzExtract(f *testing.F) {
	var plain bytes.Buffer
	w := archive.NewWriter(&plain)
	for _, e := range example() {
		if err := w.Add(e, bytes.NewReader([]byte(content(e)))); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(plain.Bytes(), false)
	f.Add(pack(f, plain.Bytes()), true)
	var evil bytes.Buffer
	t := tar.NewWriter(&evil)
	for _, h := range []*tar.Header{
		{Name: "etc/out", Typeflag: tar.TypeSymlink, Linkname: "../../beside"},
		{Name: "etc/out/a", Typeflag: tar.TypeReg},
		{Name: "../beside/b", Typeflag: tar.TypeReg},
	} {
		if err := t.WriteHeader(h); err != nil {
			f.Fatal(err)
		}
	}
	if err := t.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(evil.Bytes(), false)
	f.Fuzz(func(t *testing.T, b []byte, packed bool) {
		size := len(b)
		if packed {
			size = plain.Len()
		} else {
			b = pack(t, b)
		}
		if size == 0 {
			return
		}
		top := t.TempDir()
		for _, name := range []string{"stage", "root", "beside"} {
			if err := os.Mkdir(filepath.Join(top, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("../beside", filepath.Join(top, "root/opt")); err != nil {
			t.Fatal(err)
		}
		before := list(t, filepath.Join(top, "root"))
		sealed := encrypt(t, b, size, manifest.MaxEntries)
		// The fuzzer cannot guess how many entries there will be.
		entries := 0
		count := func(archive.Entry, io.Reader) error { entries++; return nil }
		read(bytes.NewReader(sealed.ciphertext), sealed.key, sealed.manifest, count)
		sealed.manifest.Entries, entries = entries, 0
		err := read(bytes.NewReader(sealed.ciphertext), sealed.key, sealed.manifest, count)
		staged, stageErr := sealed.stage(filepath.Join(top, "stage"))
		if (err == nil) != (stageErr == nil) {
			t.Fatalf("reading it: %v, staging it: %v", err, stageErr)
		}
		if err == nil {
			// An ordinary user cannot give files away.
			if err := staged.Commit(filepath.Join(top, "root")); errors.Is(err, ErrUnchanged) {
				if after := list(t, filepath.Join(top, "root")); !maps.Equal(before, after) {
					t.Errorf("nothing was to be changed, and the root has %v", after)
				}
			}
			if err := staged.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, name := range []string{"stage", "beside"} {
			if left, err := os.ReadDir(filepath.Join(top, name)); err != nil || len(left) > 0 {
				t.Errorf("%s has %v, %v", name, left, err)
			}
		}
		if names, err := os.ReadDir(top); err != nil || len(names) != 3 {
			t.Errorf("beside the root are %v, %v", names, err)
		}
	})
}

// FuzzHeader reads a ciphertext of any header with the one file key.
func FuzzHeader(f *testing.F) {
	good := sealEntries(f, example()...)
	header, err := age.ExtractHeader(bytes.NewReader(good.ciphertext))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(header)
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAA 10\nAAAA\n--- AAAA\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		b := append(bytes.Clone(head), good.ciphertext[len(header):]...)
		err := Read(bytes.NewReader(b), good.key, good.resealed(b).manifest, func(archive.Entry, io.Reader) error { return nil })
		if (err == nil) != bytes.Equal(head, header) {
			t.Errorf("with the header %q the error is %v", head, err)
		}
	})
}
