package extract

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/klauspost/compress/zstd"
)

const (
	chunkSize = 64<<10 + 16 // of age's payload, with its tag
	nonceSize = 16
)

// TestCiphertext is the list of attacks on the ciphertext. Each is made twice: with the manifest of the true
// ciphertext, and with one that is made to fit, so that age alone tells.
func TestCiphertext(t *testing.T) {
	good := sealNoise(t, 200_000)
	header, err := age.ExtractHeader(bytes.NewReader(good.ciphertext))
	if err != nil {
		t.Fatal(err)
	}
	payload := len(header) + nonceSize
	if chunks := (len(good.ciphertext) - payload) / chunkSize; chunks < 3 {
		t.Fatalf("the ciphertext has only %d whole chunks", chunks)
	}
	attack := func(t *testing.T, b []byte, withSHA256, withAge string) {
		t.Helper()
		refused(t, sealed{b, good.key, good.manifest}, withSHA256)
		refused(t, good.resealed(b), withAge)
	}
	flip := func(t *testing.T, at int) {
		t.Helper()
		b := bytes.Clone(good.ciphertext)
		b[at] ^= 0x10
		attack(t, b, "", "")
	}
	change := func(from ...[]byte) []byte { return bytes.Join(from, nil) }
	chunk := func(i int) []byte { return good.ciphertext[payload+i*chunkSize : payload+(i+1)*chunkSize] }

	t.Run("untouched", func(t *testing.T) {
		staged, err := good.stage(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer staged.Close()
	})
	t.Run("truncated at each chunk border and one byte either side", func(t *testing.T) {
		borders := []int{len(header), payload, len(good.ciphertext)}
		for at := payload + chunkSize; at < len(good.ciphertext); at += chunkSize {
			borders = append(borders, at)
		}
		for _, border := range borders {
			for _, at := range []int{border - 1, border, border + 1} {
				if at < len(good.ciphertext) {
					attack(t, good.ciphertext[:at], "", "")
				}
			}
		}
	})
	t.Run("empty", func(t *testing.T) { refused(t, sealed{nil, good.key, good.manifest}, "empty") })
	t.Run("bit flip in header", func(t *testing.T) {
		for at := range payload {
			b := bytes.Clone(good.ciphertext)
			b[at] ^= 0x10
			if good.resealed(b).read() == nil {
				t.Errorf("byte %d may be changed", at)
			}
		}
	})
	t.Run("bit flip in chunk", func(t *testing.T) {
		for _, at := range []int{payload, payload + chunkSize + 100, len(good.ciphertext) - 20} {
			flip(t, at)
		}
	})
	t.Run("bit flip in tag", func(t *testing.T) {
		for _, at := range []int{payload + chunkSize - 16, payload + 2*chunkSize - 1, len(good.ciphertext) - 1} {
			flip(t, at)
		}
	})
	t.Run("swapped chunks", func(t *testing.T) {
		attack(t, change(good.ciphertext[:payload], chunk(1), chunk(0), good.ciphertext[payload+2*chunkSize:]), "authenticate", "authenticate")
	})
	t.Run("left-out chunk", func(t *testing.T) {
		attack(t, change(good.ciphertext[:payload], chunk(0), good.ciphertext[payload+2*chunkSize:]), "authenticate", "authenticate")
	})
	t.Run("appended data", func(t *testing.T) {
		attack(t, change(good.ciphertext, []byte{0}), "more bytes than the manifest says", "")
		attack(t, change(good.ciphertext, make([]byte, chunkSize)), "more bytes than the manifest says", "")
		attack(t, change(good.ciphertext, good.ciphertext), "more bytes than the manifest says", "")
	})
	t.Run("older ciphertext", func(t *testing.T) {
		old := sealNoise(t, 200_000)
		refused(t, sealed{old.ciphertext, good.key, good.manifest}, "MAC") // the old file, the new key
		refused(t, sealed{old.ciphertext, old.key, good.manifest}, "SHA-256")
	})
	t.Run("another overlay's file key", func(t *testing.T) {
		refused(t, sealed{good.ciphertext, sealNoise(t, 1).key, good.manifest}, "MAC")
	})
	t.Run("wrong size, right start", func(t *testing.T) {
		m := *good.manifest
		m.Ciphertext.Size++
		refused(t, sealed{good.ciphertext, good.key, &m}, "1 bytes less")
		m.Ciphertext.Size -= 2
		refused(t, sealed{good.ciphertext, good.key, &m}, "more bytes")
	})
	t.Run("wrong SHA-256", func(t *testing.T) {
		m := *good.manifest
		m.Ciphertext.SHA256 = manifest.Digest(sha256.Sum256(nil))
		refused(t, sealed{good.ciphertext, good.key, &m}, "SHA-256")
	})
}

// TestArchive is the list of attacks by what is inside a ciphertext that is as its manifest says.
func TestArchive(t *testing.T) {
	reg := func(name string) *tar.Header { return &tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg} }
	special := func(name string, kind byte, target string) *tar.Header {
		return &tar.Header{Name: name, Mode: 0o644, Typeflag: kind, Linkname: target, Devmajor: 8}
	}
	setuid := reg("opt/su")
	setuid.Mode = 0o4755
	for _, test := range []struct {
		name, why string
		headers   []*tar.Header
	}{
		{"absolute path", "absolute", []*tar.Header{reg("/etc/shadow")}},
		{"..", `".."`, []*tar.Header{reg("etc/../../shadow")}},
		{"symlink out", "above", []*tar.Header{special("etc/a", tar.TypeSymlink, "../../shadow")}},
		{"hard link out", "hard link", []*tar.Header{special("etc/a", tar.TypeLink, "../../shadow")}},
		{"write through an archived symlink", "no directory", []*tar.Header{special("etc/a", tar.TypeSymlink, "/opt"), reg("etc/a/b")}},
		{"device node", "device node", []*tar.Header{special("etc/sda", tar.TypeBlock, "")}},
		{"setuid", "setuid", []*tar.Header{setuid}},
		{"over-long name", "255", []*tar.Header{reg("etc/" + strings.Repeat("a", 256))}},
		{"case-fold duplicate", "case only", []*tar.Header{reg("etc/a"), reg("etc/A")}},
		{"trust anchor", "comes with its image", []*tar.Header{reg("etc/ember/attest/overlay.key")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			// A good file goes before it, so that something has been staged.
			refused(t, sealHeaders(t, append([]*tar.Header{reg("etc/good")}, test.headers...)...), test.why)
		})
	}
	t.Run("too many entries", func(t *testing.T) {
		s := sealHeaders(t, reg("etc/a"), reg("etc/b"), reg("etc/c"))
		s.manifest.Entries = 2
		refused(t, s, "more entries than the 2")
	})
	t.Run("too few entries", func(t *testing.T) {
		s := sealHeaders(t, reg("etc/a"), reg("etc/b"))
		s.manifest.Entries = 3
		refused(t, s, "has 2 entries")
	})
}

// TestCompression is the list of attacks on the decoder.
func TestCompression(t *testing.T) {
	small := sealEntries(t, archive.Entry{Path: "etc/a", Mode: 0o644})
	var plain bytes.Buffer
	w := archive.NewWriter(&plain)
	if err := w.Add(archive.Entry{Path: "etc/a", Mode: 0o644}, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	packed, size := pack(t, plain.Bytes()), plain.Len()

	t.Run("zstd bomb", func(t *testing.T) {
		// 256 MiB of zeros in a file that the manifest says is small.
		var b, head bytes.Buffer
		z, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		h := &tar.Header{Name: "etc/bomb", Mode: 0o644, Size: 256 << 20, Typeflag: tar.TypeReg}
		if err := tar.NewWriter(&head).WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		z.Write(head.Bytes())
		if _, err := io.CopyN(z, zero{}, h.Size); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if b.Len() > 1<<20 {
			t.Fatalf("the bomb has %d bytes", b.Len())
		}
		refused(t, encrypt(t, b.Bytes(), 1<<20, 1), "more bytes than the manifest says")
	})
	t.Run("zstd bomb behind the end", func(t *testing.T) {
		refused(t, encrypt(t, pack(t, append(plain.Bytes(), make([]byte, 1<<26)...)), size, 1), "more bytes than the manifest says")
	})
	t.Run("giant window", func(t *testing.T) {
		var b bytes.Buffer
		z, err := zstd.NewWriter(&b, zstd.WithWindowSize(2*MaxWindow), zstd.WithSingleSegment(false), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		file := archive.NewWriter(z)
		n := int64(3 * MaxWindow)
		if err := file.Add(archive.Entry{Path: "etc/a", Mode: 0o644, Size: n}, io.LimitReader(zero{}, n)); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		refused(t, encrypt(t, b.Bytes(), int(n)+1536, 1), "window size exceeded")
	})
	t.Run("frame that says it is giant", func(t *testing.T) {
		// A single segment's window is its content's size, here 2^40 bytes.
		refused(t, encrypt(t, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0}, size, 1), "")
	})
	t.Run("no zstd", func(t *testing.T) { refused(t, encrypt(t, plain.Bytes(), size, 1), "magic number") })
	t.Run("nothing", func(t *testing.T) { refused(t, encrypt(t, nil, size, 1), "") })
	t.Run("cut short", func(t *testing.T) {
		for n := range packed {
			if encrypt(t, packed[:n], size, 1).read() == nil {
				t.Errorf("the first %d bytes are enough", n)
			}
		}
	})
	t.Run("bit flip", func(t *testing.T) {
		// The age layer is sound here, so that zstd's checksum is what tells.
		for at := 5; at < len(packed); at++ {
			b := bytes.Clone(packed)
			b[at] ^= 1
			if encrypt(t, b, size, 1).read() == nil {
				t.Errorf("byte %d may be changed", at)
			}
		}
	})
	t.Run("data behind the frame", func(t *testing.T) {
		refused(t, encrypt(t, append(packed[:len(packed):len(packed)], "more"...), size, 1), "")
		refused(t, encrypt(t, append(packed[:len(packed):len(packed)], packed...), size, 1), "more bytes than the manifest says")
	})
	t.Run("without the list", func(t *testing.T) {
		staged, err := small.stage(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		staged.Close()
	})
}

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestOpenRefusesKeys(t *testing.T) {
	for _, n := range []int{0, 15, 17, 32} {
		if _, err := Open(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are a file key", n)
		}
	}
}

// TestReadError makes sure that an error of the network is what is reported, not what comes of it.
func TestReadError(t *testing.T) {
	s := sealNoise(t, 200_000)
	for _, n := range []int{10, 1000, 100_000} {
		in := io.MultiReader(bytes.NewReader(s.ciphertext[:n]), unused{})
		_, err := Stage(t.TempDir(), in, s.key, s.manifest)
		if err == nil || !strings.Contains(err.Error(), errUsed.Error()) {
			t.Errorf("after %d bytes the error is %v", n, err)
		}
	}
	if got, want := fmt.Sprint(s.manifest), "test-1"; got != want {
		t.Errorf("the overlay is called %s, not %s", got, want)
	}
}
