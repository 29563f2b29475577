package ovmf

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

// blank is a flash image with a store of 256 bytes behind its header.
func blank() []byte {
	image := make([]byte, 72, 512)
	copy(image[16:], volumeGUID[:])
	binary.LittleEndian.PutUint16(image[volumeHeader:], 72)
	image = append(image, storeGUID[:]...)
	image = binary.LittleEndian.AppendUint32(image, storeHeader+256)
	image = append(image, 0x5a, 0xfe, 0, 0, 0, 0, 0, 0)
	return append(image, bytes.Repeat([]byte{0xff}, 256+64)...)
}

func sample() []Variable {
	return []Variable{
		{Name: "BootOrder", Vendor: Global, Attributes: NonVolatile | BootAccess | RuntimeAccess, Data: []byte{1, 0, 0}},
		{Name: "é", Vendor: GUID{15: 1}, Attributes: NonVolatile, Data: []byte{}},
	}
}

func written(t testing.TB, variables []Variable) []byte {
	t.Helper()
	image, err := Write(blank(), variables)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestRoundTrip(t *testing.T) {
	image := written(t, sample())
	got, err := Read(image)
	if err != nil || !reflect.DeepEqual(got, sample()) {
		t.Errorf("read back as %+v: %v", got, err)
	}
	again, err := Write(image, nil)
	if err != nil || !bytes.Equal(again, blank()) {
		t.Errorf("without variables it is not as it was: %v", err)
	}
	if got, err := Read(blank()); err != nil || len(got) != 0 {
		t.Errorf("a blank image has %+v: %v", got, err)
	}
}

// The bytes of a variable, written down from EDK II's header file.
func TestGoldenBytes(t *testing.T) {
	const want = "aa55" + "3f" + "00" + "07000000" + "0000000000000000" + "00000000000000000000000000000000" + "00000000" +
		"14000000" + "03000000" + "61dfe48bca93d211aa0d00e098032b8c" + // sizes, EFI_GLOBAL_VARIABLE
		"42006f006f0074004f0072006400650072000000" + "010000" + "ff" // name, data, padding
	if got := hex.EncodeToString(written(t, sample()[:1])[100:184]); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What firmware deleted is not read, what it was about to replace is.
func TestState(t *testing.T) {
	image := written(t, sample())
	for state, want := range map[byte]int{0x3f: 2, 0x3e: 2, 0x3d: 1, 0x3c: 1, 0x7f: 1} {
		image[102] = state
		if got, err := Read(image); err != nil || len(got) != want {
			t.Errorf("with state %#x there are %+v: %v", state, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	large := written(t, sample())
	binary.LittleEndian.PutUint32(large[100+40:], 1<<31)
	outside := blank()
	binary.LittleEndian.PutUint32(outside[72+16:], 1<<20)
	other := blank()
	other[72]++
	for name, c := range map[string]struct {
		image []byte
		want  string
	}{
		"nothing":           {nil, "not one of OVMF's"},
		"another file":      {make([]byte, 512), "not one of OVMF's"},
		"another store":     {other, "no store of authenticated"},
		"a store cut off":   {outside, "is not in it"},
		"a variable beyond": {large, "does not fit"},
	} {
		if got, err := Read(c.image); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v, not %q", name, got, err, c.want)
		}
	}
	if _, err := Write(nil, nil); err == nil {
		t.Error("nothing was written to")
	}
	if _, err := Write(blank(), []Variable{{Name: "Large", Data: make([]byte, 200)}}); err == nil || !strings.Contains(err.Error(), "do not fit") {
		t.Errorf("a variable that does not fit: %v", err)
	}
}

func TestParseGUID(t *testing.T) {
	for _, s := range []string{"", "8be4df61", "8be4df61-93ca-11d2-aa0d-00e098032b8g", "8be4df6193ca11d2aa0d00e098032b8c"} {
		if g, err := ParseGUID(s); err == nil {
			t.Errorf("%q is read as %x", s, g)
		}
	}
}

func TestEnrol(t *testing.T) {
	before := append(sample(), Variable{Name: "PK", Vendor: Global, Data: []byte("old")}, Variable{Name: "db", Vendor: Global, Data: []byte("no key")})
	got := Enrol(before, &x509.Certificate{Raw: []byte("certificate")})
	var names []string
	for _, v := range got {
		names = append(names, v.Name)
	}
	if want := []string{"BootOrder", "é", "db", "PK", "KEK", "db"}; !reflect.DeepEqual(names, want) {
		t.Fatalf("got %q, want %q", names, want)
	}
	for _, v := range got[3:] {
		if v.Attributes != 0x27 {
			t.Errorf("%s has attributes %#x", v.Name, v.Attributes)
		}
		const want = "a159c0a5e494a74a87b5ab155c2bf072" + "37000000" + "00000000" + "1b000000" + "bd9afa775903324dbd6028f4e78f784b"
		if got := hex.EncodeToString(v.Data); got != want+hex.EncodeToString([]byte("certificate")) {
			t.Errorf("%s holds %s", v.Name, got)
		}
	}
	if len(before) != 4 || before[2].Name != "PK" {
		t.Errorf("the list given was changed: %+v", before)
	}
}

// What can be read can be written, and is then the same.
func FuzzRead(f *testing.F) {
	f.Add(blank())
	f.Add(written(f, sample()))
	f.Fuzz(func(t *testing.T, image []byte) {
		variables, err := Read(image)
		if err != nil {
			return
		}
		out, err := Write(image, variables)
		if err != nil {
			return // names that are not UTF-16 grow
		}
		again, err := Read(out)
		if err != nil || len(again) != len(variables) {
			t.Fatalf("%+v became %+v: %v", variables, again, err)
		}
		for i, v := range variables {
			if a := again[i]; a.Vendor != v.Vendor || a.Attributes != v.Attributes || !bytes.Equal(a.Data, v.Data) {
				t.Errorf("%+v became %+v", v, a)
			}
		}
	})
}
