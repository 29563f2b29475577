package booted

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/lkg/booted/bootedtest"
)

const someID = "0123456789abcdefghij"

func write(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKernelFile has a kernel whose notes are found, whatever is around it.
func TestKernelFile(t *testing.T) {
	notes := slices.Concat([]byte{4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, []byte("Xen\x00"), bootedtest.BuildID(someID))
	b := bootedtest.Image(bootedtest.Program(notes))
	want := Digest(sha256.Sum256(notes))
	for name, b := range map[string][]byte{"as it is built": b, "signed": append(slices.Clone(b), "signature"...)} {
		got, err := KernelFile(write(t, b))
		if err != nil || got != want {
			t.Errorf("%s: %x, %v, want %x", name, got, err, want)
		}
	}
	other, err := KernelFile(write(t, bootedtest.Image(bootedtest.Program(bootedtest.BuildID("1"+someID[1:])))))
	if err != nil || other == want {
		t.Errorf("another kernel: %x, %v", other, err)
	}
}

func TestKernelFileRefuses(t *testing.T) {
	good := bootedtest.Image(bootedtest.Program(bootedtest.BuildID(someID)))
	change := func(f func(b []byte)) []byte {
		b := slices.Clone(good)
		f(b)
		return b
	}
	start := 5*sector + bootedtest.Before
	size := start + int(binary.LittleEndian.Uint32(good[payloadLength:])) - 4
	for name, test := range map[string]struct {
		image []byte
		want  string
	}{
		"a text":                  {[]byte("kernel"), "it is not a bzImage"},
		"an old protocol":         {change(func(b []byte) { b[headerVersion] = 7 }), "it is not a bzImage"},
		"cut short":               {good[:start+10], "it was cut short"},
		"another compression":     {change(func(b []byte) { b[start] = 0x1f }), "it is not compressed with zstd"},
		"damaged":                 {change(func(b []byte) { b[start+20] ^= 1 }), "unpacking it"},
		"more than it says":       {change(func(b []byte) { b[size]-- }), "another size than it says"},
		"less than it says":       {change(func(b []byte) { b[size]++ }), "another size than it says"},
		"a giant":                 {change(func(b []byte) { b[size+3] = 0xff }), "unpacked it would have"},
		"not a program":           {bootedtest.Image([]byte("hello, world")), "no ELF program"},
		"without a build ID":      {bootedtest.Image(bootedtest.Program([]byte("\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00Xen\x00"))), "it has no build ID"},
		"without notes":           {bootedtest.Image(bootedtest.Program(nil)), "it has no build ID"},
		"no payload, at the end":  {change(func(b []byte) { binary.LittleEndian.PutUint32(b[payloadLength:], 0) }), "it is not compressed with zstd"},
		"a payload beyond it all": {change(func(b []byte) { binary.LittleEndian.PutUint32(b[payloadOffset:], 0xffffffff) }), "it was cut short"},
	} {
		if _, err := KernelFile(write(t, test.image)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if _, err := KernelFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestKernel needs nothing but that Linux runs.
func TestKernel(t *testing.T) {
	notes, err := os.ReadFile(notesFile)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this kernel shows no notes")
	} else if err != nil {
		t.Fatal(err)
	}
	if got, err := Kernel(); err != nil || got != sha256.Sum256(notes) {
		t.Errorf("got %x, %v", got, err)
	}
}

func TestInitrds(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	file, mine := write(t, []byte("initrd")), Digest(sha256.Sum256([]byte("initrd")))
	for name, test := range map[string]struct {
		path string
		log  []byte
		want []Digest
		kept bool
		err  string
	}{
		"kept":             {file, nil, []Digest{mine}, true, ""},
		"measured":         {none, someLog(), someMeasured, false, ""},
		"both":             {file, someLog(), append([]Digest{mine}, someMeasured...), true, ""},
		"neither":          {none, nil, nil, false, ""},
		"nothing in a log": {none, someLog()[:firstEvent], nil, false, ""},
		"zeros behind it":  {none, append(someLog(), make([]byte, 100)...), someMeasured, false, ""},
		"a damaged log":    {file, someLog()[:firstEvent+1], nil, false, "reading the event log"},
		"what is no file":  {t.TempDir(), nil, nil, false, "is a directory"},
	} {
		got, kept, err := initrds(test.path, test.log)
		if !slices.Equal(got, test.want) || kept != test.kept || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %x, %v, %v, want %x, %v, %q", name, got, kept, err, test.want, test.kept, test.err)
		}
	}
}
