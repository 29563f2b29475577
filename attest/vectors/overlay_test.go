package vectors

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
)

// manifestVector is a manifest that was signed.
type manifestVector struct {
	Seed      octets `json:"seed"` // the private key (RFC 8032)
	PublicKey string `json:"publicKey"`
	Line      string `json:"line"`   // the first one, without its newline
	Signed    string `json:"signed"` // what the signature is over
	Signature octets `json:"signature"`
	Manifest  string `json:"manifest"` // the whole
}

func (v *manifestVector) fill() {
	key := ed25519.NewKeyFromSeed(v.Seed)
	v.PublicKey = "ed25519:" + base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	v.Signed = "ember-overlay-manifest-v1\n" + v.Line
	v.Signature = ed25519.Sign(key, []byte(v.Signed))
	v.Manifest = v.Line + "\nsignature " + base64.RawURLEncoding.EncodeToString(v.Signature) + "\n"
}

func TestManifest(t *testing.T) {
	const all = `{"format":1,"name":"rack","version":7,"created":"2026-05-01T12:00:00Z","expires":"2026-08-01T00:00:00Z",` +
		`"nodes":["60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752","9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],` +
		`"ciphertext":{"size":4711,"sha256":"0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"},"archiveSize":10240,"entries":3,` +
		`"kernel":"2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40","initrd":"4142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f60"}`
	const small = `{"format":1,"name":"a","version":1,"created":"1970-01-01T00:00:00Z",` +
		`"ciphertext":{"size":1,"sha256":"0000000000000000000000000000000000000000000000000000000000000000"},"archiveSize":1,"entries":1}`
	vs := vectors(t, "manifest.json", func() (made []manifestVector) {
		for _, line := range []string{all, small} {
			v := manifestVector{Seed: bytes.Repeat([]byte("k"), 32), Line: line}
			v.fill()
			made = append(made, v)
		}
		return made
	})
	for _, v := range vs {
		again := manifestVector{Seed: v.Seed, Line: v.Line}
		again.fill()
		if !reflect.DeepEqual(again, v) {
			t.Errorf("the second implementation has %+v, not %+v", again, v)
		}
		key := must[manifest.Key](t)(manifest.ParseKey(v.PublicKey))
		m, err := manifest.Open([]byte(v.Manifest), key)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "the line, here", must[[]byte](t)(m.Encode()), []byte(v.Line))
		equal(t, "the manifest, here", must[[]byte](t)(manifest.Sign(m, ed25519.NewKeyFromSeed(v.Seed))), []byte(v.Manifest))
	}
}

// overlayVector is an overlay that was sealed, with what opens it.
type overlayVector struct {
	Identity   string          `json:"identity"`  // attestd's, of age
	Recipient  string          `json:"recipient"` // its public half
	FileKey    octets          `json:"fileKey"`   // what a grant has
	Manifest   string          `json:"manifest"`  // by the key of manifest.json
	Ciphertext octets          `json:"ciphertext"`
	Header     octets          `json:"header"` // the ciphertext's, which is all that attestd reads
	Compressed octets          `json:"compressed"`
	Archive    octets          `json:"archive"`
	Entries    []archivedEntry `json:"entries"`
}

type archivedEntry struct {
	Path    string `json:"path"`
	Kind    string `json:"kind"`
	Mode    uint32 `json:"mode"`
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Content string `json:"content,omitempty"`
	Target  string `json:"target,omitempty"`
}

var kinds = []string{archive.File: "file", archive.Directory: "directory", archive.Symlink: "symlink"}

// write writes the entries as an archive.
func (v *overlayVector) write(w *archive.Writer) error {
	for _, e := range v.Entries {
		entry := archive.Entry{Path: e.Path, Mode: fs.FileMode(e.Mode), UID: e.UID, GID: e.GID, Size: int64(len(e.Content)), Target: e.Target}
		for kind, name := range kinds {
			if name == e.Kind {
				entry.Kind = archive.Kind(kind)
			}
		}
		if err := w.Add(entry, strings.NewReader(e.Content)); err != nil {
			return err
		}
	}
	return nil
}

// open does what attestd and the machine do with age.
func (v *overlayVector) open(t *testing.T) {
	t.Helper()
	id := must[*age.HybridIdentity](t)(age.ParseHybridIdentity(v.Identity))
	v.Recipient = id.Recipient().String()
	v.Header = must[[]byte](t)(age.ExtractHeader(bytes.NewReader(v.Ciphertext)))
	v.FileKey = must[[]byte](t)(age.DecryptHeader(v.Header, id))
	plain := must[io.Reader](t)(age.Decrypt(bytes.NewReader(v.Ciphertext), age.NewInjectedFileKeyIdentity(v.FileKey)))
	v.Compressed = must[[]byte](t)(io.ReadAll(plain))
	z := must[*zstd.Decoder](t)(zstd.NewReader(bytes.NewReader(v.Compressed)))
	defer z.Close()
	v.Archive = must[[]byte](t)(io.ReadAll(z))
}

func TestOverlay(t *testing.T) {
	v := vectors(t, "overlay.json", func() (v overlayVector) {
		v.Entries = []archivedEntry{
			{Path: "etc", Kind: "directory", Mode: 0o755},
			{Path: "etc/secret", Kind: "file", Mode: 0o600, UID: 1, GID: 2, Content: "This is for attested machines only.\n"},
			{Path: "etc/link", Kind: "symlink", Mode: 0o777, Target: "secret"},
		}
		id := must[*age.HybridIdentity](t)(age.GenerateHybridIdentity())
		v.Identity = id.String()
		m := &manifest.Manifest{Format: manifest.Format, Name: "rack", Version: 7, Created: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
		var b bytes.Buffer
		if err := seal.Seal(&b, []age.Recipient{id.Recipient()}, m, v.write); err != nil {
			t.Fatal(err)
		}
		v.Ciphertext = b.Bytes()
		v.Manifest = string(must[[]byte](t)(manifest.Sign(m, ed25519.NewKeyFromSeed(bytes.Repeat([]byte("k"), 32)))))
		v.open(t)
		return v
	})
	again := v
	again.open(t)
	if !reflect.DeepEqual(again, v) {
		t.Errorf("age has %+v, not %+v", again, v)
	}

	id := must[*age.HybridIdentity](t)(age.ParseHybridIdentity(v.Identity))
	equal(t, "the file key, here", must[[]byte](t)(seal.FileKey(v.Ciphertext[:min(len(v.Ciphertext), seal.HeaderSize)], id)), v.FileKey)
	seed := ed25519.NewKeyFromSeed(bytes.Repeat([]byte("k"), 32))
	m, err := manifest.Open([]byte(v.Manifest), manifest.Key(seed.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	var entries []archivedEntry
	err = extract.Read(bytes.NewReader(v.Ciphertext), must[age.Identity](t)(extract.Open(v.FileKey)), m, func(e archive.Entry, content io.Reader) error {
		b, err := io.ReadAll(content)
		entries = append(entries, archivedEntry{e.Path, kinds[e.Kind], uint32(e.Mode.Perm()), e.UID, e.GID, string(b), e.Target})
		return err
	})
	if err != nil || !reflect.DeepEqual(entries, v.Entries) {
		t.Errorf("here it holds %+v, %v", entries, err)
	}
	var b bytes.Buffer
	w := archive.NewWriter(&b)
	if err := v.write(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, "the archive, here", b.Bytes(), v.Archive)
}
