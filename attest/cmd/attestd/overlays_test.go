package main

import (
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

// sealer makes overlays.
type sealer struct {
	signer   ed25519.PrivateKey
	identity *age.HybridIdentity
}

func newOverlays(t *testing.T) *sealer {
	t.Helper()
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return &sealer{signer, identity}
}

func (s *sealer) key() string { return manifest.Key(s.signer.Public().(ed25519.PublicKey)).String() }

// seal gives a folder with an overlay.
func (s *sealer) seal(t *testing.T, name string, version uint64) string {
	t.Helper()
	folder := t.TempDir()
	f, err := os.Create(filepath.Join(folder, seal.CiphertextFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := &manifest.Manifest{Format: manifest.Format, Name: name, Version: version, Created: time.Now().UTC().Truncate(time.Second)}
	err = seal.Seal(f, []age.Recipient{s.identity.Recipient()}, m, func(w *archive.Writer) error {
		return w.Add(archive.Entry{Path: "etc/motd", Mode: 0o644, Size: 2}, strings.NewReader("hi"))
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := manifest.Sign(m, s.signer)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(folder, seal.ManifestFile), signed)
	return folder
}
