package ra

import (
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const head = "86 00 0000 40 %f 0708 00000000 00000000"

func bytes(t testing.TB, flags string, options ...string) []byte {
	t.Helper()
	text := strings.ReplaceAll(head, "%f", flags) + strings.Join(options, "")
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	router = netip.MustParseAddr("fe80::1")
	// As radvd writes them, with a prefix and an MTU that are the kernel's business.
	prefix = "03 04 40 c0 00015180 00003840 00000000 20010db8000000000000000000000000"
	mtu    = "05 01 0000 000005dc"
	rdnss  = "19 05 0000 00000258 20010db8000000000000000000000053 fe800000000000000000000000000001"
	dnssl  = "1f 03 0000 0000012c 04 7261636b 07 6578616d706c65 00 0000"
)

func TestParse(t *testing.T) {
	dns := []netip.Addr{netip.MustParseAddr("2001:db8::53"), router}
	for _, tt := range []struct {
		about string
		b     []byte
		want  Advertisement
	}{
		{"no options", bytes(t, "00"), Advertisement{}},
		{"flags", bytes(t, "c0"), Advertisement{Managed: true, Other: true}},
		{"high preference", bytes(t, "08"), Advertisement{Preference: 1}},
		{"low preference", bytes(t, "18"), Advertisement{Preference: -1}},
		{"reserved preference", bytes(t, "10"), Advertisement{}},
		{"all", bytes(t, "40", prefix, mtu, rdnss, dnssl), Advertisement{Other: true, DNS: dns, Search: []string{"rack.example"}, DNSLifetime: 300 * time.Second}},
		{"taken back", bytes(t, "00", strings.Replace(rdnss, "00000258", "00000000", 1)), Advertisement{}},
		{"for ever", bytes(t, "00", strings.Replace(rdnss, "00000258", "ffffffff", 1)), Advertisement{DNS: dns, DNSLifetime: forever * time.Second}},
		{"no name", bytes(t, "00", strings.Replace(dnssl, "7261", "0a61", 1)), Advertisement{}},
		{"no servers", bytes(t, "00", "19 05 0000 00000258", strings.Repeat("ff", 16), strings.Repeat("00", 16)), Advertisement{}},
	} {
		tt.want.Router, tt.want.Lifetime = router, 1800*time.Second
		if got, err := Parse(tt.b, router); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v", tt.about, got, err, tt.want)
		}
	}
	many := bytes(t, "00", strings.Repeat(rdnss, 100))
	if got, err := Parse(many, router); err != nil || len(got.DNS) != mostServers {
		t.Errorf("of 200 name servers %d are taken, %v", len(got.DNS), err)
	}
}

func TestParseRefuses(t *testing.T) {
	whole := bytes(t, "00", rdnss)
	for about, b := range map[string][]byte{
		"nothing":              nil,
		"half a header":        whole[:header-1],
		"half an option":       whole[:len(whole)-1],
		"an option's type":     whole[:header+1],
		"an option's head":     whole[:header+4],
		"an option of nothing": bytes(t, "00", "19 00 0000 00000258"),
		"another message":      append([]byte{solicitation}, whole[1:]...),
	} {
		if got, err := Parse(b, router); err == nil {
			t.Errorf("%s is read as %+v", about, got)
		}
	}
	if got, err := Parse(whole, netip.MustParseAddr("2001:db8::1")); err == nil {
		t.Errorf("a router that is not on the link is read as %+v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(bytes(f, "c0", prefix, mtu, rdnss, dnssl))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b, router)
		if err != nil {
			return
		}
		for _, s := range a.Search {
			if s == "" || strings.ContainsAny(s, " \n") {
				t.Errorf("search domain %q", s)
			}
		}
		for _, s := range a.DNS {
			if !s.Is6() || s.IsUnspecified() || s.Zone() != "" {
				t.Errorf("name server %v", s)
			}
		}
	})
}
