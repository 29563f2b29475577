package dnsname

import (
	"slices"
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, want := range map[string][2]string{
		"":                                 {"", ""},
		".":                                {"", ""},
		"node7":                            {"node7", "node7"},
		"Node7.Rack.Example":               {"node7.rack.example", "node7"},
		"node7.example.":                   {"node7.example", "node7"},
		"1042":                             {"1042", "1042"},
		"node7\x00\x00":                    {"node7", "node7"},
		"_tcp.example":                     {"_tcp.example", ""},
		"a\nnameserver b":                  {"", ""},
		"a b":                              {"", ""},
		"a..b":                             {"", ""},
		"-a":                               {"", ""},
		"a-":                               {"", ""},
		"bücher":                           {"", ""},
		"a\x00b":                           {"", ""},
		long:                               {long, long},
		long + "a":                         {"", ""},
		strings.Repeat(long+".", 3) + long: {"", ""},
		strings.Repeat(long+".", 3) + long[:63-2]:       {strings.Repeat(long+".", 3) + long[:63-2], long},
		strings.Repeat(long+".", 3) + long[:63-2] + ".": {strings.Repeat(long+".", 3) + long[:63-2], long},
	} {
		if got := Clean(name); got != want[0] {
			t.Errorf("Clean(%q) = %q, want %q", name, got, want[0])
		}
		if got := Host(name); got != want[1] {
			t.Errorf("Host(%q) = %q, want %q", name, got, want[1])
		}
	}
	if got := CleanAll([]string{"b", "a", " ", "B.", "c"}); !slices.Equal(got, []string{"b", "a", "c"}) {
		t.Errorf("CleanAll gives %q", got)
	}
}

func TestUnpack(t *testing.T) {
	for b, want := range map[string][]string{
		"": nil, "\x00\x00": nil,
		"\x04rack\x07example\x00\x01b\x00\x00\x00": {"rack.example", "b"},
		"\x01a\x00\xc0\x00":                        nil, "\x01a": nil, "\x02a": nil, "\x40" + strings.Repeat("a", 64) + "\x00": nil,
	} {
		got, err := Unpack([]byte(b))
		if !slices.Equal(got, want) || (err == nil) != (want != nil || strings.Trim(b, "\x00") == "") {
			t.Errorf("%q is unpacked as %q, %v; want %q", b, got, err, want)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("\x04rack\x07example\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := Unpack(b)
		if n := len(strings.Join(names, " ")); n > len(b) || err != nil && names != nil {
			t.Errorf("%q is unpacked as %q, %v", b, names, err)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("Node_7.example.\x00")
	f.Fuzz(func(t *testing.T, name string) {
		clean := Clean(name)
		if Clean(clean) != clean || strings.ContainsAny(clean, " \t\r\n\x00#;") {
			t.Errorf("Clean(%q) = %q", name, clean)
		}
	})
}
