package dhcp6

import (
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

func decode(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	head  = "07 010203 0001 000a 0003 0001 525400123456 0002 0007 0002 00007ed9 61"
	grant = " 0003 0028 00123456 00000000 00000000 0005 0018 20010db8000000000000000000000007"
	dns   = " 0017 0020 20010db8000000000000000000000053 ff020000000000000000000000000001"
	list  = " 0018 000e 04 7261636b 07 6578616d706c65 00"
	ntp   = " 0038 0011 0003 000d 03 6e7470 07 6578616d706c65 00"
)

func TestParseLease(t *testing.T) {
	address := netip.MustParseAddr("2001:db8::7")
	for about, tt := range map[string]struct {
		text string
		want *Lease // nil if it is none
	}{
		"plain":     {head + grant + "00000e10 00000e10", &Lease{Address: address, Duration: time.Hour, T1: time.Hour / 2, T2: time.Hour / 10 * 8}},
		"preferred": {head + grant + "00000708 00000e10", &Lease{Address: address, Duration: time.Hour, T1: time.Hour / 4, T2: time.Hour / 10 * 4}},
		"times": {head + strings.Replace(grant, "00000000 00000000", "0000003c 00000078", 1) + "00000e10 00000e10",
			&Lease{Address: address, Duration: time.Hour, T1: time.Minute, T2: 2 * time.Minute}},
		"for ever":   {head + grant + "ffffffff ffffffff", &Lease{Address: address}},
		"no time":    {head + grant + "00000000 00000000", nil},
		"no host":    {head + strings.Replace(grant, "20010db8", "ff020000", 1) + "00000e10 00000e10", nil},
		"no address": {head + dns, nil},
		"refused":    {head + " 000d 0002 0002" + grant + "00000e10 00000e10", nil},
		"all": {head + grant + "ffffffff ffffffff" + dns + list + ntp, &Lease{
			Address: address, DNS: []netip.Addr{netip.MustParseAddr("2001:db8::53")}, Search: []string{"rack.example"}, NTP: []string{"ntp.example"},
		}},
	} {
		m, err := dhcpv6.MessageFromBytes(decode(t, tt.text))
		if err != nil {
			t.Errorf("%s: %v", about, err)
			continue
		}
		got, err := parseLease(m)
		if !reflect.DeepEqual(got, tt.want) || (err != nil) != (tt.want == nil) {
			t.Errorf("%s: %+v, %v; want %+v", about, got, err, tt.want)
		}
	}
}

func FuzzParseLease(f *testing.F) {
	f.Add(decode(f, head+grant+"00000e10 00000e10"+dns+list+ntp))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dhcpv6.MessageFromBytes(b)
		if err != nil {
			return
		}
		l, err := parseLease(m)
		if err != nil {
			l = parseRest(m)
		}
		for _, name := range append(l.Search, l.NTP...) {
			if name == "" || strings.ContainsAny(name, " \t\r\n\x00#") {
				t.Errorf("name %q", name)
			}
		}
		if err == nil && (!isHost(l.Address) || l.Duration < 0 || l.T1 > l.T2 || l.T2 > l.Duration) {
			t.Errorf("lease %+v", l)
		}
	})
}
