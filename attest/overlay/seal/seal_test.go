package seal

import (
	"bytes"
	"crypto/ed25519"
	"io"
	"strings"
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

func TestFileKeyOfAnotherServer(t *testing.T) {
	var file bytes.Buffer
	if err := Seal(&file, []age.Recipient{identity(t).Recipient()}, describe(), hello); err != nil {
		t.Fatal(err)
	}
	if _, err := FileKey(file.Bytes(), identity(t)); err == nil {
		t.Error("it opens what is sealed to another server")
	}
}
