// Package overlaytest makes overlays for tests.
package overlaytest

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
)

// Maker seals overlays to a server, and signs them.
type Maker struct {
	Server *age.HybridIdentity
	Signer ed25519.PrivateKey
}

// New gives one with keys of its own.
func New(t testing.TB) Maker {
	t.Helper()
	server, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return Maker{server, signer}
}

// Key is the signer's.
func (m Maker) Key() manifest.Key { return manifest.Key(m.Signer.Public().(ed25519.PublicKey)) }

// Manifest begins one, of now. Seal fills in the rest.
func Manifest(name string, version uint64) *manifest.Manifest {
	return &manifest.Manifest{Format: manifest.Format, Name: name, Version: version, Created: time.Now().UTC().Truncate(time.Second)}
}

// Seal gives the ciphertext of an overlay whose one file, etc/motd, says what text is, and who unpacks it may make it.
func (m Maker) Seal(t testing.TB, d *manifest.Manifest, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	uid, gid := os.Getuid(), os.Getgid()
	err := seal.Seal(&b, []age.Recipient{m.Server.Recipient()}, d, func(w *archive.Writer) error {
		if err := w.Add(archive.Entry{Path: "etc", Kind: archive.Directory, Mode: 0o755, UID: uid, GID: gid}, nil); err != nil {
			return err
		}
		return w.Add(archive.Entry{Path: "etc/motd", Mode: 0o640, Size: int64(len(text)), UID: uid, GID: gid}, strings.NewReader(text))
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FileKey opens a ciphertext for a machine, as the server does.
func (m Maker) FileKey(t testing.TB, ciphertext []byte) []byte {
	t.Helper()
	key, err := seal.FileKey(ciphertext[:min(len(ciphertext), seal.HeaderSize)], m.Server)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Sign gives a signed manifest.
func (m Maker) Sign(t testing.TB, d *manifest.Manifest) []byte {
	t.Helper()
	signed, err := manifest.Sign(d, m.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// Folder gives a folder with an overlay, as emberctl makes it: see Seal. change changes the manifest before it is signed.
func (m Maker) Folder(t testing.TB, d *manifest.Manifest, text string, change ...func(*manifest.Manifest)) string {
	t.Helper()
	ciphertext := m.Seal(t, d, text)
	for _, f := range change {
		f(d)
	}
	folder := t.TempDir()
	for name, b := range map[string][]byte{seal.ManifestFile: m.Sign(t, d), seal.CiphertextFile: ciphertext} {
		if err := os.WriteFile(filepath.Join(folder, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
