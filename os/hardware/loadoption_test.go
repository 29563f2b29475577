package hardware

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// Values of Boot#### variables.
const (
	// "PXE Slot 1": PciRoot(0)/Pci(0x1c,0)/MAC(e4434b000002,1)/IPv4(0.0.0.0)
	networkOption = `01000000 5600 500058004500200053006c006f00740020003100 0000
		02010c00 d0410a03 00000000  01010600 001c
		030b2500 e4434b000002 0000000000000000000000000000000000000000000000000000 01
		030c1b00 00000000 00000000 0000 0000 0000 00 00000000 00000000
		7fff0400 0a0b`
	// "UEFI OS": HD(1,GPT,9c5fa9d5-7b0c-4c6d-a1f2-0123456789ab,0x800,0x100000)/\EFI\BOOT\BOOTX64.EFI, then data
	diskOption = `01000000 5e00 55004500460049002000 4f005300 0000
		04012a00 01000000 0008000000000000 0000100000000000 d5a95f9c0c7b6d4ca1f20123456789ab 02 02
		04043000 5c004500460049005c0042004f004f0054005c0042004f004f0054005800360034002e0045004600 49000000
		7fff0400 0000424f`
	// "HTTP": MAC(...)/IPv4/Uri(http://a/b)
	httpOption = `01000000 3800 4800540054005000 0000
		030b2500 525400123456 0000000000000000000000000000000000000000000000000000 01
		03180f00 687474703a2f2f612f622f
		7fff0400`
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wide is a string as UEFI has them.
func wide(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}

func TestParseLoadOption(t *testing.T) {
	for value, want := range map[string]LoadOption{
		networkOption:        {Description: "PXE Slot 1", MAC: net.HardwareAddr{0xe4, 0x43, 0x4b, 0, 0, 2}},
		diskOption:           {Description: "UEFI OS", Partition: "9c5fa9d5-7b0c-4c6d-a1f2-0123456789ab", File: `\EFI\BOOT\BOOTX64.EFI`},
		httpOption:           {Description: "HTTP", MAC: net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}, URI: "http://a/b/"},
		"00000000 0000 0000": {},
	} {
		b := unhex(t, value)
		if got, err := ParseLoadOption(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", value, got, err, want)
		}
	}
	for _, value := range []string{"", "00000000", "00000000 0000", "00000000 0000 4100", "00000000 0400 0000", "00000000 0400 0000 01010300",
		"00000000 0400 0000 01010500", "00000000 0300 0000 010104"} {
		if got, err := ParseLoadOption(unhex(t, value)); err == nil {
			t.Errorf("%s: %+v without an error", value, got)
		}
	}
}

// encode is the opposite of ParseLoadOption.
func encode(o LoadOption) []byte {
	var path []byte
	node := func(kind uint16, data []byte) {
		path = append(path, byte(kind>>8), byte(kind))
		path = binary.LittleEndian.AppendUint16(path, uint16(4+len(data)))
		path = append(path, data...)
	}
	if o.MAC != nil {
		node(nodeMAC, append(slices.Clone(o.MAC), make([]byte, 27)...))
	}
	if o.URI != "" {
		node(nodeURI, []byte(o.URI))
	}
	if o.Partition != "" {
		b := make([]byte, 38)
		n, _ := hex.Decode(b[20:], []byte(strings.ReplaceAll(o.Partition, "-", "")))
		slices.Reverse(b[20:24])
		slices.Reverse(b[24:26])
		slices.Reverse(b[26:28])
		b[20+n+1] = 2
		node(nodePartition, b)
	}
	if o.File != "" {
		node(nodeFile, wide(o.File))
	}
	node(0x7fff, nil)
	b := binary.LittleEndian.AppendUint16(make([]byte, 4), uint16(len(path)))
	return append(append(append(b, wide(o.Description)...), 0, 0), path...)
}

func FuzzParseLoadOption(f *testing.F) {
	for _, value := range []string{networkOption, diskOption, httpOption} {
		f.Add(unhex(f, value))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseLoadOption(b)
		if err != nil || len(o.File) > 1<<14 || len(o.URI) > 1<<14 {
			return
		}
		if again, err := ParseLoadOption(encode(o)); err != nil || !reflect.DeepEqual(again, o) {
			t.Errorf("%+v, written and read again %+v, %v", o, again, err)
		}
	})
}
