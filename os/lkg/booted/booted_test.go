package booted

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// noted are the notes of a kernel: its build ID.
func noted(id string) []byte {
	return slices.Concat([]byte{4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0}, []byte("GNU\x00"), []byte(id))
}

const someID = "0123456789abcdefghij"

// program is a kernel proper with these notes.
func program(notes []byte) []byte {
	var b bytes.Buffer
	at := uint64(64 + 2*56)
	binary.Write(&b, binary.LittleEndian, elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	})
	binary.Write(&b, binary.LittleEndian, []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Off: at + uint64(len(notes)), Filesz: 4, Memsz: 4},
		{Type: uint32(elf.PT_NOTE), Off: at, Filesz: uint64(len(notes)), Memsz: uint64(len(notes))},
	})
	b.Write(notes)
	b.WriteString("code")
	return b.Bytes()
}

// image is a bzImage with a program, as Linux' build makes it.
func image(t testing.TB, program []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := w.EncodeAll(program, nil)
	payload = binary.LittleEndian.AppendUint32(payload, uint32(len(program)))
	const before = 100 // bytes of the unpacking program
	b := make([]byte, 5*sector+before, 5*sector+before+len(payload)+100)
	b[setupSectors] = 4
	copy(b[headerMagic:], "HdrS")
	binary.LittleEndian.PutUint16(b[headerVersion:], 0x020f)
	binary.LittleEndian.PutUint32(b[payloadOffset:], before)
	binary.LittleEndian.PutUint32(b[payloadLength:], uint32(len(payload)))
	return append(append(b, payload...), make([]byte, 100)...)
}

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
	notes := slices.Concat([]byte{4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, []byte("Xen\x00"), noted(someID))
	b := image(t, program(notes))
	want := Digest(sha256.Sum256(notes))
	for name, b := range map[string][]byte{"as it is built": b, "signed": append(slices.Clone(b), "signature"...)} {
		got, err := KernelFile(write(t, b))
		if err != nil || got != want {
			t.Errorf("%s: %x, %v, want %x", name, got, err, want)
		}
	}
	other, err := KernelFile(write(t, image(t, program(noted("1"+someID[1:])))))
	if err != nil || other == want {
		t.Errorf("another kernel: %x, %v", other, err)
	}
}

func TestKernelFileRefuses(t *testing.T) {
	good := image(t, program(noted(someID)))
	change := func(f func(b []byte)) []byte {
		b := slices.Clone(good)
		f(b)
		return b
	}
	start := 5*sector + 100
	size := 5*sector + 100 + int(binary.LittleEndian.Uint32(good[payloadLength:])) - 4
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
		"not a program":           {image(t, []byte("hello, world")), "no ELF program"},
		"without a build ID":      {image(t, program([]byte("\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00Xen\x00"))), "it has no build ID"},
		"without notes":           {image(t, program(nil)), "it has no build ID"},
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
	kept, mine := write(t, []byte("initrd")), Digest(sha256.Sum256([]byte("initrd")))
	for name, test := range map[string]struct {
		path string
		log  []byte
		want []Digest
		err  string
	}{
		"kept":              {kept, nil, []Digest{mine}, ""},
		"measured":          {none, someLog(), someMeasured, ""},
		"both":              {kept, someLog(), append([]Digest{mine}, someMeasured...), ""},
		"neither":           {none, nil, nil, ErrUnknown.Error()},
		"nothing in a log":  {none, someLog()[:firstEvent], nil, ErrUnknown.Error()},
		"a damaged log":     {none, someLog()[:firstEvent+1], nil, errLog.Error()},
		"what is no file":   {t.TempDir(), nil, nil, "is a directory"},
		"a log of SHA-1 ID": {none, make([]byte, 32), nil, ErrUnknown.Error()},
	} {
		got, err := initrds(test.path, test.log)
		if !slices.Equal(got, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %x, %v, want %x, %q", name, got, err, test.want, test.err)
		}
	}
}
