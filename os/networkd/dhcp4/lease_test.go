package dhcp4

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// wire is an acknowledgement with options as they are on the wire.
func wire(t testing.TB, options string) []byte {
	t.Helper()
	text := "02 01 06 00 01020304 0000 0000 00000000 0a000007 0a000001 00000000 525400123456" +
		strings.Repeat("00", 10+64+128) + "63825363" + options + "ff"
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	ack    = "35 01 05 36 04 0a000001"
	full   = ack + "33 04 00000e10 01 04 ffffff00"
	router = "03 08 0a000001 0a000002"
)

var (
	xid  = dhcpv4.TransactionID{1, 2, 3, 4}
	ten1 = netip.MustParseAddr("10.0.0.1")
	ten7 = netip.MustParsePrefix("10.0.0.7/24")
)

func TestParseLease(t *testing.T) {
	zero := netip.MustParsePrefix("0.0.0.0/0")
	for about, tt := range map[string]struct {
		options string
		want    Lease
	}{
		"plain":               {full, Lease{}},
		"routers":             {full + router, Lease{Routes: []Route{{zero, ten1}}}},
		"no host as router":   {full + "03 08 00000000 0a000002", Lease{Routes: []Route{{zero, netip.MustParseAddr("10.0.0.2")}}}},
		"half a router":       {full + "03 03 0a0000", Lease{}},
		"no mask":             {ack + "33 04 00000e10", Lease{Address: netip.MustParsePrefix("10.0.0.7/8")}},
		"mask with holes":     {ack + "33 04 00000e10 01 04 ff00ff00", Lease{Address: netip.MustParsePrefix("10.0.0.7/8")}},
		"no duration":         {ack + "01 04 ffffff00", Lease{}},
		"short duration":      {ack + "33 04 00000001 01 04 ffffff00", Lease{Duration: 5 * time.Second, T1: 5 * time.Second / 2, T2: 5 * time.Second / 8 * 7}},
		"for ever":            {ack + "33 04 ffffffff 01 04 ffffff00 3a 04 00000001", Lease{Duration: -1}},
		"T1 and T2":           {full + "3a 04 0000003c 3b 04 00000078", Lease{T1: time.Minute, T2: 2 * time.Minute}},
		"T1 behind T2":        {full + "3a 04 0000003c 3b 04 0000001e", Lease{T1: 30 * time.Second, T2: 30 * time.Second}},
		"T2 behind the end":   {full + "3b 04 0000ffff", Lease{}},
		"servers":             {full + "06 08 0a000035 e0000001 2a 04 7f000001", Lease{DNS: []netip.Addr{netip.MustParseAddr("10.0.0.53")}}},
		"names":               {full + "0c 05 4e6f646537 0f 0d 7261636b2e6578616d706c6500", Lease{Hostname: "node7", Domain: "rack.example"}},
		"names that are none": {full + "0c 03 610a62 0f 03 612062", Lease{}},
		"search in two parts": {full + "77 06 04 7261636b 07 77 0c 6578616d706c65 00 01 62 c0 05", Lease{Search: []string{"rack.example", "b.example"}}},
		"search for ever":     {full + "77 02 c0 00", Lease{}},
		"MTU":                 {full + "1a 02 2328", Lease{MTU: 9000}},
		"small MTU":           {full + "1a 02 0044", Lease{}},
		"classless": {full + router + "79 15 10 0a09 0a000009 00 0a000002 20 0a00000a 00000000", Lease{Routes: []Route{
			{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParseAddr("10.0.0.9")}, {zero, netip.MustParseAddr("10.0.0.2")},
			{netip.MustParsePrefix("10.0.0.10/32"), netip.Addr{}},
		}}},
		"classless, halves": {full + "79 0c 01 00 0a000001 01 80 0a000001", Lease{Routes: []Route{
			{netip.MustParsePrefix("0.0.0.0/1"), ten1}, {netip.MustParsePrefix("128.0.0.0/1"), ten1},
		}}},
		"classless, this network": {full + "79 0f 08 00 0a000001 20 00000000 0a000001", Lease{}},
		"classless, no hosts":     {full + router + "79 0c 10 e000 0a000009 00 ffffffff", Lease{}},
	} {
		m, ok := reply(wire(t, tt.options), mac, xid)
		if !ok {
			t.Errorf("%s: not read at all", about)
			continue
		}
		want := tt.want
		want.Server = ten1
		if !want.Address.IsValid() {
			want.Address = ten7
		}
		switch {
		case want.Duration == 0:
			want.Duration = time.Hour
			if want.T2 == 0 {
				want.T2 = time.Hour / 8 * 7
			}
			if want.T1 == 0 {
				want.T1 = time.Hour / 2
			}
		case want.Duration < 0:
			want.Duration = 0
		}
		if got, err := parseLease(m); err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("%s: %+v, %v; want %+v", about, got, err, want)
		}
	}
}

func TestLargest(t *testing.T) {
	b := wire(t, full)
	b = append(b, make([]byte, largest-len(b))...)
	if _, ok := reply(b, mac, xid); !ok {
		t.Error("the largest message is not read")
	}
	if _, ok := reply(append(b, 0), mac, xid); ok {
		t.Error("a larger one is read")
	}
}

func FuzzReply(f *testing.F) {
	f.Add(wire(f, full+router+"06 04 0a000035 2a 04 0a00007b 0c 05 6e6f646537 0f 07 6578616d706c65 1a 02 05dc 77 06 04 7261636b 00 79 08 18 0a0000 0a000001"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := reply(b, mac, xid)
		if !ok {
			return
		}
		l, err := parseLease(m)
		if err != nil {
			return
		}
		for _, name := range append([]string{l.Hostname, l.Domain}, l.Search...) {
			if strings.ContainsAny(name, " \t\r\n\x00#") {
				t.Errorf("name %q", name)
			}
		}
		if !l.Address.Addr().Is4() || l.Address.Bits() < 1 || !l.Server.Is4() || l.MTU < 0 || l.Duration < 0 || l.T1 > l.T2 || l.T2 > l.Duration {
			t.Errorf("lease %+v", l)
		}
		for _, r := range l.Routes {
			if !r.Dest.Addr().Is4() || r.Dest != r.Dest.Masked() || r.Gateway.IsValid() && !isHost(r.Gateway) {
				t.Errorf("route %+v", r)
			}
		}
	})
}

// golden is a broadcast of "ember!!" with checksums computed elsewhere.
const golden = "45 00 0023 0000 4000 40 11 3acb 00000000 ffffffff 0044 0043 000f a455 656d6265722121"

func TestFrame(t *testing.T) {
	want, err := hex.DecodeString(strings.ReplaceAll(golden, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	if got := broadcastFrame([]byte("ember!!")); !bytes.Equal(got, want) {
		t.Errorf("the frame is\n%x, want\n%x", got, want)
	}
	toUs := func(change func([]byte) []byte) []byte {
		b := bytes.Clone(want)
		b[23] = clientPort
		return change(b)
	}
	for about, tt := range map[string]struct {
		b    []byte
		want string // "" for none
	}{
		"as it is": {toUs(func(b []byte) []byte { return b }), "ember!!"},
		"padded":   {toUs(func(b []byte) []byte { return append(b, 0, 0) }), "ember!!"},
		"with options": {toUs(func(b []byte) []byte {
			b[0], b[3] = 0x46, b[3]+4
			return append(b[:20:20], append([]byte{1, 1, 1, 0}, b[20:]...)...)
		}), "ember!!"},
		"to a server":    {want, ""},
		"cut":            {toUs(func(b []byte) []byte { return b[:len(b)-1] }), ""},
		"cut in UDP":     {toUs(func(b []byte) []byte { b[3] = 27; return b }), ""},
		"UDP too long":   {toUs(func(b []byte) []byte { b[25]++; return b }), ""},
		"UDP too short":  {toUs(func(b []byte) []byte { b[25] = 7; return b }), ""},
		"short header":   {toUs(func(b []byte) []byte { b[0] = 0x44; return b }), ""},
		"IPv6":           {toUs(func(b []byte) []byte { b[0] = 0x65; return b }), ""},
		"TCP":            {toUs(func(b []byte) []byte { b[9] = 6; return b }), ""},
		"a fragment":     {toUs(func(b []byte) []byte { b[7] = 1; return b }), ""},
		"nothing at all": {nil, ""},
	} {
		got, ok := payload(tt.b)
		if ok != (tt.want != "") || string(got) != tt.want {
			t.Errorf("%s: %q, %v", about, got, ok)
		}
	}
}

func FuzzPayload(f *testing.F) {
	f.Add(broadcastFrame([]byte("ember")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if message, ok := payload(b); ok && len(message) > len(b)-ipHeader-udpHeader {
			t.Errorf("%d bytes in a packet of %d", len(message), len(b))
		}
		if len(b) < 1000 {
			frame := broadcastFrame(b)
			frame[ipHeader+3] = clientPort
			if message, ok := payload(frame); !ok || !bytes.Equal(message, b) {
				t.Errorf("%x comes back as %x, %v", b, message, ok)
			}
		}
	})
}

func TestIsHost(t *testing.T) {
	for address, want := range map[string]bool{
		"10.0.0.7": true, "169.254.0.1": true, "223.255.255.255": true, "224.0.0.1": false, "255.255.255.255": false,
		"0.0.0.0": false, "0.1.2.3": false, "127.0.0.1": false, "::1": false,
	} {
		if isHost(netip.MustParseAddr(address)) != want {
			t.Errorf("isHost(%s) = %v", address, !want)
		}
	}
	if isHost(addr(net.IP{1, 2, 3})) || isHost(addr(nil)) {
		t.Error("half an address is one")
	}
}
