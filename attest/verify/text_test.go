package verify_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ember-os/ember/attest/verify"
)

func TestText(t *testing.T) {
	guid := "61dfe48bca93d211aa0d00e098032b8c"
	for _, test := range []struct {
		name  string
		kind  uint32
		data  string // hex
		want  string
		named string
	}{
		{"a variable", 0x80000001, guid + "0a00000000000000" + "0100000000000000" + "53006500630075007200650042006f006f00740001", "SecureBoot", "EV_EFI_VARIABLE_DRIVER_CONFIG"},
		{"a variable whose name is longer than the data", 0x80000002, guid + "ffffffffffffffff" + "0100000000000000" + "5300", "", "EV_EFI_VARIABLE_BOOT"},
		{"half a variable", 0x80000002, guid, "", "EV_EFI_VARIABLE_BOOT"},
		{"an action", 0x80000007, hex.EncodeToString([]byte("Calling EFI Application from Boot Option")), "Calling EFI Application from Boot Option", "EV_EFI_ACTION"},
		{"a command line", 0x0d, "63006f006e0073006f006c0065003d000000", "console=", "EV_IPL"},
		{"a separator", 4, "00000000", "", "EV_SEPARATOR"},
		{"no data", 0x80000003, "", "", "EV_EFI_BOOT_SERVICES_APPLICATION"},
		{"two lines", 0x0d, hex.EncodeToString([]byte("a\nb\x00")), "a b", "EV_IPL"},
		{"what would do something to a terminal", 0x0d, hex.EncodeToString([]byte("a\x1b[31mb")), "", "EV_IPL"},
		{"a long text", 5, hex.EncodeToString([]byte(strings.Repeat("x", 300))), strings.Repeat("x", 63) + "…", "EV_ACTION"},
		{"an unknown type", 0x1234, "", "", "0x1234"},
	} {
		data, err := hex.DecodeString(test.data)
		if err != nil {
			t.Fatal(err)
		}
		e := verify.Event{Type: test.kind, Data: data}
		if got := e.Text(); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if got := verify.TypeName(test.kind); got != test.named {
			t.Errorf("%s: type %q, want %q", test.name, got, test.named)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add(uint32(0x80000001), []byte("0123456789abcdef\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00a\x00"))
	f.Add(uint32(8), []byte("v\x001\x00"))
	f.Add(uint32(0x0d), []byte("linux /vmlinuz\x00"))
	f.Fuzz(func(t *testing.T, kind uint32, data []byte) {
		s := verify.Event{Type: kind, Data: data}.Text()
		if !utf8.ValidString(s) || utf8.RuneCountInString(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", s)
		}
	})
}
