package extract

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/klauspost/compress/zstd"
)

// open is a recipient, and identity, for everyone: its stanza has the file key as it is.
type open struct{}

func (open) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	return []*age.Stanza{{Type: "test", Body: fileKey}}, nil
}

func (open) Unwrap(stanzas []*age.Stanza) ([]byte, error) { return stanzas[0].Body, nil }

// sealed is an overlay as the manifest's signer could have made it, well or not.
type sealed struct {
	ciphertext []byte
	key        age.Identity
	manifest   *manifest.Manifest
}

func (s sealed) stage(dir string) (*Staged, error) {
	return Stage(dir, bytes.NewReader(s.ciphertext), s.key, s.manifest)
}

// read reads it without staging, where there is too much to be done for files.
func (s sealed) read() error {
	return Read(bytes.NewReader(s.ciphertext), s.key, s.manifest, func(archive.Entry, io.Reader) error { return nil })
}

// resealed gives other bytes a manifest of their own, so that only what is inside tells.
func (s sealed) resealed(ciphertext []byte) sealed {
	m := *s.manifest
	m.Ciphertext = manifest.File{Size: int64(len(ciphertext)), SHA256: sha256.Sum256(ciphertext)}
	return sealed{ciphertext, s.key, &m}
}

// encrypt seals what is said to be a compressed archive of archiveSize bytes.
func encrypt(t testing.TB, packed []byte, archiveSize, entries int) sealed {
	t.Helper()
	var b bytes.Buffer
	w, err := age.Encrypt(&b, open{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(packed); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	header, err := age.ExtractHeader(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	fileKey, err := age.DecryptHeader(header, open{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := Open(fileKey)
	if err != nil {
		t.Fatal(err)
	}
	m := &manifest.Manifest{Format: manifest.Format, Name: "test", Version: 1, Created: time.Unix(0, 0).UTC(),
		ArchiveSize: int64(archiveSize), Entries: entries}
	return sealed{nil, key, m}.resealed(b.Bytes())
}

func pack(t testing.TB, archive []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(archive, nil)
}

// seal seals an archive.
func seal(t testing.TB, archive []byte, entries int) sealed {
	t.Helper()
	return encrypt(t, pack(t, archive), len(archive), entries)
}

// sealEntries seals an archive of entries, whose files hold their paths, repeated.
func sealEntries(t testing.TB, entries ...archive.Entry) sealed {
	t.Helper()
	var b bytes.Buffer
	w := archive.NewWriter(&b)
	for _, e := range entries {
		if err := w.Add(e, strings.NewReader(content(e))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return seal(t, b.Bytes(), len(entries))
}

func content(e archive.Entry) string {
	return strings.Repeat(e.Path+"\n", int(e.Size)/(len(e.Path)+1)+1)[:e.Size]
}

// sealHeaders seals an archive that no archive.Writer writes.
func sealHeaders(t testing.TB, headers ...*tar.Header) sealed {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return seal(t, b.Bytes(), len(headers))
}

// noise is bytes that cannot be compressed, always the same.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// sealNoise seals one file that fills several of age's chunks.
func sealNoise(t testing.TB, size int) sealed {
	t.Helper()
	var b bytes.Buffer
	w := archive.NewWriter(&b)
	if err := w.Add(archive.Entry{Path: "opt/noise", Mode: 0o600, Size: int64(size)}, bytes.NewReader(noise(size))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return seal(t, b.Bytes(), 1)
}

// refused makes sure that an overlay is not staged, that nothing is left of it, and that the reason has why.
func refused(t *testing.T, s sealed, why string) {
	t.Helper()
	dir := t.TempDir()
	staged, err := s.stage(dir)
	if err == nil {
		staged.Close()
		t.Error("it is staged")
		return
	}
	if !strings.Contains(err.Error(), why) {
		t.Errorf("the error is %q, not one with %q", err, why)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// list gives what is in a directory: path, mode, and content or target.
func list(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(b)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + target
		}
		name, err := filepath.Rel(dir, path)
		found[name] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var errUsed = errors.New("the ciphertext is read")

// unused is a ciphertext that must not be read.
type unused struct{}

func (unused) Read([]byte) (int, error) { return 0, errUsed }

var _ io.Reader = unused{}
