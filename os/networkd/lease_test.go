package networkd

import (
	"net"
	"net/netip"
	"testing"

	"github.com/ember-os/ember/os/netstate"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
)

func TestLease(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	l.serve("eth0", grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1"), dhcpv4.OptDNS(net.IPv4(10, 0, 0, 53)),
		dhcpv4.OptHostName("node7"), dhcpv4.OptDomainName("rack.example"), dhcpv4.OptNTPServers(net.IPv4(10, 0, 0, 123))))
	l.run(Config{})
	if got, want := l.told("READY"), "READY=1\nSTATUS=link=eth0 address=10.0.0.7/24 gateway=10.0.0.1 by=dhcp4"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	s := l.state()
	if !s.Settled || !s.Online || s.Link != "eth0" || s.Hostname != "node7" || s.Domain != "rack.example" || len(s.NTP) != 1 || s.NTP[0] != "10.0.0.123" {
		t.Errorf("the state is %+v", s)
	}
	if a := s.Links[0].Addresses[0]; a.Source != netstate.DHCP4 || a.Server != netip.MustParseAddr("10.0.0.1") || a.Expires.IsZero() {
		t.Errorf("the address is %+v", a)
	}
	l.wantRoutes(netlink.FAMILY_V4, "10.0.0.0/24 dev eth0", "default via 10.0.0.1 dev eth0")
}
