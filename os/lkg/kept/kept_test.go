package kept_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"filippo.io/age"

	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/os/lkg/kept"
	"github.com/ember-os/ember/os/lkg/state"
)

var update = flag.Bool("update", false, "write testdata anew")

// signer is always the same for a name.
func signer(name byte) (ed25519.PrivateKey, manifest.Key) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{name}, ed25519.SeedSize))
	return key, manifest.Key(key.Public().(ed25519.PublicKey))
}

// describe gives a configuration of a ciphertext.
func describe(t testing.TB, ciphertext []byte, m *manifest.Manifest) *kept.Config {
	t.Helper()
	if m == nil {
		m = &manifest.Manifest{ArchiveSize: 1, Entries: 1}
	}
	m.Format, m.Name, m.Version, m.Created = manifest.Format, "rack", 7, time.Date(2026, 11, 21, 10, 44, 27, 0, time.UTC)
	m.Ciphertext = manifest.File{Size: int64(len(ciphertext)), SHA256: sha256.Sum256(ciphertext)}
	private, _ := signer('k')
	signed, err := manifest.Sign(m, private)
	if err != nil {
		t.Fatal(err)
	}
	return &kept.Config{
		Node: strings.Repeat("5f", 32), Tier: protocol.Enrolled, Time: time.Date(2026, 11, 29, 19, 0, 0, 0, time.UTC),
		Manifest: signed, Key: []byte{1, 2, 3, 0xff},
	}
}

// write gives the bytes of a file, of which the Sum says the same.
func write(t testing.TB, ciphertext []byte, c *kept.Config) []byte {
	t.Helper()
	r, err := kept.Reader(io.NopCloser(bytes.NewReader(ciphertext)), c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	s := kept.NewSum()
	s.Write(ciphertext)
	if image, err := s.File(c); err != nil || image != (state.Image{Size: int64(len(b)), SHA256: sha256.Sum256(b)}) {
		t.Fatalf("a file of %d bytes with SHA-256 %x is said to be %+v, %v", len(b), sha256.Sum256(b), image, err)
	}
	return b
}

func TestGolden(t *testing.T) {
	ciphertext := []byte("a ciphertext")
	c := describe(t, ciphertext, nil)
	got := write(t, ciphertext, c)
	path := filepath.Join("testdata", "config")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("written as %q", got)
	}
	_, public := signer('k')
	back, m, r, err := kept.Open(bytes.NewReader(want), int64(len(want)), public)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != string(ciphertext) || !reflect.DeepEqual(back, c) || m.Version != 7 {
		t.Errorf("read as %q, %v, %+v, %v", text, err, back, m)
	}
	if back, err := kept.Peek(bytes.NewReader(want), int64(len(want))); err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("read as %+v, %v", back, err)
	}
}

// TestOverlay keeps a real overlay and unpacks it again.
func TestOverlay(t *testing.T) {
	server, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	m := new(manifest.Manifest)
	content := bytes.Repeat([]byte("content "), 100_000)
	err = seal.Seal(&b, []age.Recipient{server.Recipient()}, m, func(w *archive.Writer) error {
		if err := w.Add(archive.Entry{Path: "etc", Kind: archive.Directory, Mode: 0o755}, nil); err != nil {
			return err
		}
		return w.Add(archive.Entry{Path: "etc/file", Kind: archive.File, Mode: 0o644, Size: int64(len(content))}, bytes.NewReader(content))
	})
	if err != nil {
		t.Fatal(err)
	}
	fileKey, err := seal.FileKey(b.Bytes(), server)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := extract.Open(fileKey)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, b.Bytes(), describe(t, b.Bytes(), m))
	_, public := signer('k')
	stage := func(file []byte) error {
		_, m, r, err := kept.Open(bytes.NewReader(file), int64(len(file)), public)
		if err != nil {
			return err
		}
		s, err := extract.Stage(t.TempDir(), r, identity, m)
		if err == nil {
			err = s.Close()
		}
		return err
	}
	if err := stage(file); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, seal.HeaderSize / 2, b.Len() / 2, b.Len() - 1} {
		damaged := bytes.Clone(file)
		damaged[at] ^= 1
		if stage(damaged) == nil {
			t.Errorf("with byte %d damaged it is unpacked", at)
		}
	}
}

func TestRefused(t *testing.T) {
	ciphertext := []byte("a ciphertext")
	c := describe(t, ciphertext, nil)
	file := write(t, ciphertext, c)
	_, public := signer('k')
	_, other := signer('o')
	open := func(b []byte, keys ...manifest.Key) error {
		_, _, _, err := kept.Open(bytes.NewReader(b), int64(len(b)), keys...)
		return err
	}
	if err := open(file, other, public); err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]manifest.Key{nil, {other}} {
		if err := open(file, keys...); err == nil {
			t.Errorf("with the keys %v it is opened", keys)
		}
	}
	for i := range file {
		if open(file[:i], public) == nil {
			t.Errorf("the first %d bytes are opened", i)
		}
		if i > 0 && open(file[i:], public) == nil {
			t.Errorf("without the first %d bytes it is opened", i)
		}
	}
	if open(append(bytes.Clone(file), 0), public) == nil || open(append([]byte{0}, file...), public) == nil {
		t.Error("with another byte it is opened")
	}
	tail := file[len(ciphertext):]
	footer := tail[len(tail)-16:]
	for name, text := range map[string]string{
		"another field":    strings.Replace(string(tail[:len(tail)-16]), `{`, `{"more":1,`, 1),
		"a field twice":    strings.Replace(string(tail[:len(tail)-16]), `{`, `{"tier":"none",`, 1),
		"white space":      strings.Replace(string(tail[:len(tail)-16]), `{`, `{ `, 1),
		"another node":     strings.Replace(string(tail[:len(tail)-16]), `5f5f`, `5F5F`, 1),
		"another tier":     strings.Replace(string(tail[:len(tail)-16]), `enrolled`, `trusted!`, 1),
		"another zone":     strings.Replace(string(tail[:len(tail)-16]), `19:00:00Z`, `20:00:00+01:00`, 1),
		"no JSON":          "{",
		"nothing":          "",
		"an empty object":  "{}",
		"another manifest": strings.Replace(string(tail[:len(tail)-16]), `"manifest":"`, `"manifest":"AAAA`, 1),
	} {
		if text == string(tail[:len(tail)-16]) {
			t.Fatal(name)
		}
		b := append(bytes.Clone(ciphertext), text...)
		b = append(b, footer[:12]...)
		if err := open(binary.LittleEndian.AppendUint32(b, uint32(len(text))), public); err == nil {
			t.Errorf("with %s it is opened", name)
		}
	}
	large := append(bytes.Clone(footer[:12]), 0xff, 0xff, 0xff, 0x7f)
	if err := open(append(bytes.Clone(ciphertext), large...), public); err == nil || !strings.Contains(err.Error(), "more than can be") {
		t.Error(err)
	}
	broken := errors.New("broken")
	if _, err := kept.Peek(failing{broken}, 1000); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestNotWritten(t *testing.T) {
	ciphertext := []byte("a ciphertext")
	for name, change := range map[string]func(c *kept.Config){
		"no node":     func(c *kept.Config) { c.Node = "" },
		"no tier":     func(c *kept.Config) { c.Tier = "" },
		"no key":      func(c *kept.Config) { c.Key = nil },
		"a large key": func(c *kept.Config) { c.Key = make([]byte, 5000) },
		"nanoseconds": func(c *kept.Config) { c.Time = c.Time.Add(1) },
		"a zone":      func(c *kept.Config) { c.Time = c.Time.In(time.FixedZone("", 3600)) },
		"no manifest": func(c *kept.Config) { c.Manifest = nil },
	} {
		c := describe(t, ciphertext, nil)
		change(c)
		if _, err := kept.Reader(io.NopCloser(bytes.NewReader(ciphertext)), c); err == nil {
			t.Errorf("with %s it is written", name)
		}
		s := kept.NewSum()
		s.Write(ciphertext)
		if _, err := s.File(c); err == nil {
			t.Errorf("with %s it is described", name)
		}
	}
	s := kept.NewSum()
	s.Write(ciphertext[1:])
	if _, err := s.File(describe(t, ciphertext, nil)); err == nil || !strings.Contains(err.Error(), "not that of the manifest") {
		t.Errorf("of another ciphertext: %v", err)
	}
}

type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error {
	c.closed = true
	return nil
}

func TestReaderCloses(t *testing.T) {
	broken := errors.New("broken")
	c := &closer{Reader: iotest.ErrReader(broken)}
	r, err := kept.Reader(c, describe(t, []byte("x"), nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := r.Close(); err != nil || !c.closed {
		t.Errorf("%v, %v", err, c.closed)
	}
}

// What is opened can be written, as the same bytes.
func FuzzPeek(f *testing.F) {
	ciphertext := []byte("a ciphertext")
	f.Add(write(f, ciphertext, describe(f, ciphertext, nil)))
	f.Add(make([]byte, 16))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := kept.Peek(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		m, err := manifest.Peek(c.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		r, err := kept.Reader(io.NopCloser(bytes.NewReader(b[:m.Ciphertext.Size])), c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := io.ReadAll(r); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q becomes %q, %v", b, again, err)
		}
	})
}
