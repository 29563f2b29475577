package netstate

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "network.json")
	if s, err := Read(path); err != nil || !reflect.DeepEqual(s, State{}) {
		t.Errorf("before it is written: %v, %v", s, err)
	}
	for _, s := range []State{{}, {
		Settled: true, Online: true, Link: "eth0", Hostname: "node7", Domain: "rack.example",
		Search: []string{"rack.example"}, DNS: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, NTP: []string{"ntp.example"},
		Links: []Link{{Name: "eth0", MAC: "52:54:00:00:00:01", Driver: "virtio_net", Carrier: true, MTU: 1500, Addresses: []Address{{
			Prefix: netip.MustParsePrefix("10.0.0.7/24"), Gateway: netip.MustParseAddr("10.0.0.1"), Source: DHCP4,
			Server: netip.MustParseAddr("10.0.0.1"), Expires: 24 * time.Hour,
		}}}, {Name: "eth1", Note: "no carrier"}},
	}} {
		if err := s.Write(path); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("read back %+v, %v; want %+v", got, err, s)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("half a file is read without an error")
	}
}
