package pe

import (
	"bytes"
	"crypto/sha256"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/ember-os/ember/tools/uki/pe/petest"
)

func sample() []byte {
	return petest.Image(petest.Options{Sections: [][2]string{{".text", "code"}, {".sbat", "sbat,1\n"}}})
}

func parsed(t testing.TB, data []byte) *Image {
	t.Helper()
	i, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func added(t testing.TB, data []byte, contents ...Content) []byte {
	t.Helper()
	out, err := parsed(t, data).AddSections(contents...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Go's own reader sees what ours does, and what was added.
func TestAddSections(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 5000)
	data := added(t, sample(), Content{".osrel", []byte("ID=ember\n")}, Content{".linux", long}, Content{".initrd", []byte("i")})
	f, err := pe.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	i := parsed(t, data)
	if len(f.Sections) != 5 || len(i.Sections) != 5 {
		t.Fatalf("%d sections, of ours %d", len(f.Sections), len(i.Sections))
	}
	var end uint32
	for k, s := range f.Sections {
		if got, want := i.Sections[k], (Section{s.Name, s.VirtualAddress, s.VirtualSize, s.Offset, s.Size}); got != want {
			t.Errorf("section %+v, Go reads %+v", got, want)
		}
		if s.VirtualAddress%4096 != 0 || s.VirtualAddress < end || s.Offset%512 != 0 || s.Size%512 != 0 {
			t.Errorf("section %+v overlaps or is not aligned", s.SectionHeader)
		}
		end = s.VirtualAddress + s.VirtualSize
	}
	optional := f.OptionalHeader.(*pe.OptionalHeader64)
	if optional.SizeOfImage != (end+4095)&^4095 || optional.SizeOfInitializedData != 4*512+10*512 {
		t.Errorf("the image has %d bytes in memory, %d of data", optional.SizeOfImage, optional.SizeOfInitializedData)
	}
	for name, want := range map[string]string{".text": "code", ".sbat": "sbat,1\n", ".osrel": "ID=ember\n", ".linux": string(long), ".initrd": "i"} {
		if got, ok := i.Section(name); !ok || string(got) != want {
			t.Errorf("section %s holds %.20q, %v", name, got, ok)
		}
	}
	if got, ok := i.Section(".none"); ok {
		t.Errorf("a section that is not there holds %q", got)
	}
}

// The bytes, compared with the specification field by field; lines of zeros are left out.
func TestGoldenBytes(t *testing.T) {
	var lines []string
	for line := range strings.Lines(hex.Dump(added(t, sample(), Content{".cmdline", []byte("console=ttyS0")}))) {
		if !strings.Contains(line, strings.TrimSpace(strings.Repeat("00 ", 8))+"  "+strings.TrimSpace(strings.Repeat("00 ", 8))) {
			lines = append(lines, line)
		}
	}
	want, err := os.ReadFile("testdata/added.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines, ""); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAddSectionsRefuses(t *testing.T) {
	note := Content{".note", []byte("n")}
	full := petest.Options{Headers: 512, Sections: [][2]string{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}}}
	behind := sample()
	copy(behind[petest.Optional+240+2*entrySize:], "bound")
	symbols := sample()
	put32(symbols, petest.COFF+symbolsAt, 1024)
	far := sample()
	put32(far, petest.Optional+240+entrySize+8, 0xffff0000-8192) // the second section's size in memory
	for name, c := range map[string]struct {
		data     []byte
		contents []Content
		want     string
	}{
		"no room":       {petest.Image(full), []Content{note, {".more", []byte("m")}}, "no room for 2 more sections: their table would end at byte 568, and the first section begins at 512"},
		"bytes in it":   {behind, []Content{note}, "something else lies behind the table"},
		"signed":        {signed(sample()), []Content{note}, "it is signed"},
		"symbols":       {symbols, []Content{note}, "table of symbols"},
		"appended":      {append(sample(), make([]byte, 600)...), []Content{note}, "behind its last section"},
		"4 GiB":         {far, []Content{{".note", make([]byte, 1<<16)}}, "larger than 4 GiB"},
		"nothing":       {sample(), nil, "none to add"},
		"a long name":   {sample(), []Content{{".nine byte", []byte("n")}}, "1 to 8 bytes"},
		"a taken name":  {sample(), []Content{{".sbat", []byte("n")}}, "there is a section .sbat already"},
		"a name twice":  {sample(), []Content{note, note}, "there is a section .note already"},
		"an empty one":  {sample(), []Content{{".note", nil}}, "would be empty"},
		"many sections": {sample(), make([]Content, 95), "96 can be"},
	} {
		if _, err := parsed(t, c.data).AddSections(c.contents...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", name, err, c.want)
		}
	}
}

// Where the headers end early but there is room in the file, they grow.
func TestHeadersGrow(t *testing.T) {
	data := petest.Image(petest.Options{Headers: 1024, Sections: [][2]string{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}}})
	put32(data, petest.Optional+headersAt, 512)
	out := added(t, data, Content{".note", []byte("n")}, Content{".more", []byte("m")})
	if got := u32(out, petest.Optional+headersAt); got != 1024 {
		t.Errorf("the headers have %d bytes", got)
	}
}

// signed puts a table of signatures behind an image, as signing does.
func signed(data []byte) []byte {
	put32(data, petest.Optional+dirsAt+securityDir*dirSize, uint32(len(data)))
	put32(data, petest.Optional+dirsAt+securityDir*dirSize+4, 16)
	return append(data, "0123456789abcdef"...)
}

// The digest is that of the bytes that the specification names, in their order.
func TestDigest(t *testing.T) {
	data := sample()
	security := petest.Optional + dirsAt + securityDir*dirSize
	h := sha256.New()
	h.Write(data[:petest.Optional+checksumAt])
	h.Write(data[petest.Optional+checksumAt+4 : security])
	h.Write(data[security+8:])
	var want [32]byte
	h.Sum(want[:0])

	digest := func(name string, data []byte) [32]byte {
		t.Helper()
		got, err := parsed(t, data).Digest()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return got
	}
	if got := digest("an image", data); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
	if got := digest("signed", signed(sample())); got != want {
		t.Errorf("signed it has %x, before %x", got, want)
	}
	summed := sample()
	put32(summed, petest.Optional+checksumAt, 0x12345678)
	if got := digest("with a checksum", summed); got != want {
		t.Errorf("with a checksum it has %x", got)
	}
	swapped := sample() // the table's order does not matter, the file's does
	table := swapped[petest.Optional+240:]
	first := bytes.Clone(table[:entrySize])
	copy(table, table[entrySize:2*entrySize])
	copy(table[entrySize:], first)
	h.Reset()
	h.Write(swapped[:petest.Optional+checksumAt])
	h.Write(swapped[petest.Optional+checksumAt+4 : security])
	h.Write(swapped[security+8:])
	h.Sum(want[:0])
	if got := digest("with a table in another order", swapped); got != want {
		t.Errorf("with a table in another order: got %x, want %x", got, want)
	}
	appended := append(sample(), "more"...)
	if digest("with more behind it", appended) == digest("an image", data) {
		t.Error("bytes behind the sections do not count")
	}
	few := petest.Image(petest.Options{Directories: 3, Sections: [][2]string{{".text", "code"}}})
	few[len(few)-1]++
	if digest("few directories", few) == want {
		t.Error("a changed byte does not count")
	}
	gap := sample()
	put32(gap, petest.Optional+headersAt, 512)
	if _, err := parsed(t, gap).Digest(); err == nil || !strings.Contains(err.Error(), "begins at 1024") {
		t.Errorf("a gap: %v", err)
	}
}

func TestChecksum(t *testing.T) {
	// 0x0201 + 0x8003 + 0x8004 (carry) + 0x0005, the field at 4 left out, and 11 bytes.
	data := []byte{1, 2, 3, 0x80, 9, 9, 9, 9, 4, 0x80, 5}
	if got := checksum(data, 4); got != 0x020e+11 {
		t.Errorf("got %#x", got)
	}
	out := added(t, sample(), Content{".note", []byte("n")})
	if got, want := u32(out, petest.Optional+checksumAt), checksum(out, petest.Optional+checksumAt); got != want || got == 0 {
		t.Errorf("the image says %#x, want %#x", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	change := func(at int, b ...byte) []byte { return append(append(sample()[:at:at], b...), sample()[at+len(b):]...) }
	little := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	table := petest.Optional + 240
	security := petest.Optional + dirsAt + securityDir*dirSize
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":             {nil, "MZ"},
		"another file":        {bytes.Repeat([]byte("#!/bin/sh\n"), 20), "MZ"},
		"DOS alone":           {sample()[:64], "no PE header"},
		"a header far away":   {change(peOffsetAt, little(0xffffffff)...), "no PE header"},
		"cut in the header":   {sample()[:petest.Optional+100], "cut off"},
		"a short header":      {change(petest.COFF+optSizeAt, 64, 0), "cut off"},
		"32 bits":             {change(petest.Optional, 0x0b, 1), "32-bit"},
		"a ROM":               {change(petest.Optional, 7, 1), "unknown type"},
		"a Windows program":   {change(petest.Optional+subsystemAt, 3), "subsystem 3"},
		"many directories":    {change(petest.Optional+dirCountAt, little(1<<31)...), "no room for 2147483648"},
		"odd alignment":       {change(petest.Optional+fileAlignAt, little(513)...), "cannot be"},
		"no alignment":        {change(petest.Optional+fileAlignAt, little(0)...), "cannot be"},
		"no section":          {change(petest.COFF+countAt, 0, 0), "0 sections"},
		"many sections":       {change(petest.COFF+countAt, 97, 0), "97 sections"},
		"small headers":       {change(petest.Optional+headersAt, little(uint32(table))...), "do not hold"},
		"large headers":       {change(petest.Optional+headersAt, little(1<<20)...), "do not hold"},
		"cut":                 {sample()[:len(sample())-1], "its end"},
		"section in headers":  {change(table+20, little(512)...), "between its headers"},
		"section overflows":   {change(table+16, little(0xffffffff)...), "between its headers"},
		"signature in header": {change(security, append(little(16), little(2032)...)...), "signatures"},
		"signature cut":       {signed(sample())[:len(sample())+15], "signatures"},
		"behind a signature":  {append(signed(sample()), 0), "signatures"},
	} {
		if _, err := Parse(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", name, err, c.want)
		}
	}
	if i := parsed(t, signed(sample())); !i.Signed() {
		t.Error("a signed image is not seen to be")
	}
}

// Whatever parses can be asked everything, and what is added can be read again.
func FuzzParse(f *testing.F) {
	f.Add(sample())
	f.Add(signed(sample()))
	f.Add(petest.Image(petest.Options{Directories: 6, Headers: 512, Machine: 0xaa64, Sections: [][2]string{{".bss", ""}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := Parse(data)
		if err != nil {
			return
		}
		for _, s := range i.Sections {
			i.Section(s.Name)
		}
		i.Digest()
		out, err := i.AddSections(Content{".fuzz", []byte("added")})
		if err != nil {
			return
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := again.Section(".fuzz"); string(got) != "added" {
			t.Errorf("the section holds %q", got)
		}
		if _, err := again.Digest(); err != nil && strings.Contains(err.Error(), ".fuzz") {
			t.Error(err)
		}
	})
}
