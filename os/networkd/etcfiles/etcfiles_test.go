package etcfiles

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t *testing.T, d Dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(string(d), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestResolv(t *testing.T) {
	d := Dir(t.TempDir())
	if err := d.WriteResolv([]string{"a.example", "b.example"}, []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1%eth0")}); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(read(t, d, "resolv.conf"), "\n")
	if want := "search a.example b.example\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
	before, err := os.Stat(filepath.Join(string(d), "resolv.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.WriteResolv([]string{"a.example", "b.example"}, []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1%eth0")}); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(filepath.Join(string(d), "resolv.conf")); !os.SameFile(before, after) {
		t.Error("what has not changed is written again")
	}
	if err := d.WriteResolv(nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := read(t, d, "resolv.conf"); strings.Count(got, "\n") != 1 {
		t.Errorf("without anything: %q", got)
	}
	if err := Dir(filepath.Join(string(d), "none")).WriteResolv(nil, nil); err == nil {
		t.Error("no error without a directory")
	}
}

func TestHostname(t *testing.T) {
	d := Dir(t.TempDir())
	const standard = "127.0.0.1 localhost # ember\n::1 localhost ip6-localhost # ember\n"
	for _, tt := range []struct{ foreign, name, domain, want string }{
		{"", "node7", "", standard + "127.0.1.1 node7 # ember\n"},
		{"", "node8", "rack.example", standard + "127.0.1.1 node8.rack.example node8 # ember\n"},
		{"10.0.0.9 registry\r\n\n#end", "node7", "", standard + "127.0.1.1 node7 # ember\n10.0.0.9 registry\n\n#end\n"},
		{"127.0.0.1 localhost me\n", "node7", "", "::1 localhost ip6-localhost # ember\n127.0.1.1 node7 # ember\n10.0.0.9 registry\n\n#end\n127.0.0.1 localhost me\n"},
	} {
		if tt.foreign != "" {
			old := read(t, d, "hosts")
			if err := os.WriteFile(filepath.Join(string(d), "hosts"), []byte(old+tt.foreign), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := d.WriteHostname(tt.name, tt.domain); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(t, d, "hosts"); got != tt.want {
			t.Errorf("hosts is %q, want %q", got, tt.want)
		}
		if got := read(t, d, "hostname"); got != tt.name+"\n" {
			t.Errorf("hostname is %q", got)
		}
	}
}
