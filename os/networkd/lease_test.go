package networkd

import (
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
	"github.com/vishvananda/netlink"
)

// TestClassless has a lease of one address, whose gateway is outside of it, and a
// default route in halves.
func TestClassless(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	to := func(dest, gateway string) *dhcpv4.Route {
		_, n, _ := net.ParseCIDR(dest)
		return &dhcpv4.Route{Dest: n, Router: net.ParseIP(gateway)}
	}
	l.serve("eth0", grant("10.0.0.1", "10.0.0.7/32", dhcpv4.OptClasslessStaticRoute(
		to("10.0.0.1/32", "0.0.0.0"), to("0.0.0.0/0", "10.0.0.1"), to("0.0.0.0/1", "10.0.0.1"), to("128.0.0.0/1", "10.0.0.1"))))
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 address=10.0.0.7/32 gateway=10.0.0.1 by=dhcp4")
	l.wantRoutes(netlink.FAMILY_V4, "0.0.0.0/1 via 10.0.0.1 dev eth0", "10.0.0.1/32 dev eth0", "128.0.0.0/1 via 10.0.0.1 dev eth0", "default via 10.0.0.1 dev eth0")
}

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
	if a := s.Links[0].Addresses[0]; a.Source != netstate.DHCP4 || a.Server != netip.MustParseAddr("10.0.0.1") || a.Expires == 0 {
		t.Errorf("the address is %+v", a)
	}
	l.wantRoutes(netlink.FAMILY_V4, "10.0.0.0/24 dev eth0", "default via 10.0.0.1 dev eth0")
}

// TestOptions looks for what DHCP says in the kernel and the files.
func TestOptions(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	_, ten, _ := net.ParseCIDR("10.9.0.0/16")
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	l.serve("eth0", grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.2"),
		dhcpv4.OptClasslessStaticRoute(&dhcpv4.Route{Dest: ten, Router: net.IPv4(10, 0, 0, 9)}, &dhcpv4.Route{Dest: all, Router: net.IPv4(192, 168, 0, 1)}),
		dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{1400 >> 8, 1400 & 0xff}),
		dhcpv4.OptDomainName("a.example\nnameserver 6.6.6.6"), dhcpv4.OptHostName("x\n10.6.6.6 registry"),
		dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{"b.example", "c example"}}), dhcpv4.OptDNS(net.IPv4(10, 0, 0, 53))))
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 address=10.0.0.7/24 gateway=192.168.0.1 by=dhcp4")
	l.wantRoutes(netlink.FAMILY_V4, "10.0.0.0/24 dev eth0", "10.9.0.0/16 via 10.0.0.9 dev eth0", "default via 192.168.0.1 dev eth0")
	if got := l.file("etc/resolv.conf"); !strings.HasSuffix(got, "\nsearch b.example\nnameserver 10.0.0.53\n") {
		t.Errorf("resolv.conf is %q", got)
	}
	s := l.until("the MTU", func(s netstate.State) bool { return find(s, "eth0").MTU == 1400 })
	if !strings.HasPrefix(s.Hostname, "ember-") {
		t.Errorf("the host name is %q", s.Hostname)
	}
}

// TestRenewal has a lease of which the server gives another address at the first
// renewal, and none any more at the second.
func TestRenewal(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	short := []dhcpv4.Option{router4("10.0.0.1"), dhcpv4.OptIPAddressLeaseTime(time.Minute), dhcpv4.OptRenewTimeValue(time.Second)}
	first, second := grant("10.0.0.1", "10.0.0.7/24", short...), grant("10.0.0.1", "10.0.0.8/24", short...)
	renewals := make(chan net.IP, 100)
	refuse := false
	l.serve("eth0", func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		if m.ClientIPAddr.IsUnspecified() {
			if refuse {
				return nil
			}
			return first(m)
		}
		renewals <- m.ClientIPAddr
		if m.ClientIPAddr.Equal(net.IPv4(10, 0, 0, 7)) {
			return second(m)
		}
		refuse = true
		nak := first(m)
		nak.YourIPAddr = net.IPv4zero
		nak.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
		return nak
	})
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 address=10.0.0.7/24")
	l.told("STATUS=link=eth0 address=10.0.0.8/24")
	if got := <-renewals; !got.Equal(net.IPv4(10, 0, 0, 7)) {
		t.Errorf("renewed %v", got)
	}
	if got, want := l.told("link=none"), "STATUS=link=none why=\"no address on eth0\""; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	l.wantRoutes(netlink.FAMILY_V4)
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if has, err := netlink.AddrList(link, netlink.FAMILY_V4); err != nil || len(has) != 0 {
		t.Errorf("the link has %v, %v", has, err)
	}
}

// TestSuccessor has a second daemon go on where the first one ended, with another
// address.
func TestSuccessor(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	give := make(chan answer, 1)
	give <- grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1"))
	l.serve("eth0", func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		f := <-give
		give <- f
		return f(m)
	})
	stop := l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 address=10.0.0.7/24")
	stop()
	l.wantRoutes(netlink.FAMILY_V4, "10.0.0.0/24 dev eth0", "default via 10.0.0.1 dev eth0")
	<-give
	give <- grant("10.0.0.1", "10.0.1.8/24", router4("10.0.1.1"))
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 address=10.0.1.8/24")
	l.wantRoutes(netlink.FAMILY_V4, "10.0.1.0/24 dev eth0", "default via 10.0.1.1 dev eth0")
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if has, err := netlink.AddrList(link, netlink.FAMILY_V4); err != nil || len(has) != 1 {
		t.Errorf("the link has %v, %v", has, err)
	}
}

// TestEndless has leases without an end, whose addresses nobody but their daemon can tell from others'. They go when
// another daemon gets another one, and when the link's address changes.
func TestEndless(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	if err := netlink.AddrAdd(l.link("eth0"), &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("192.0.2.1/32"))}); err != nil {
		t.Fatal(err)
	}
	endless := func(address string) answer {
		return grant("10.0.0.1", address, router4("10.0.0.1"), dhcpv4.OptIPAddressLeaseTime(math.MaxUint32*time.Second))
	}
	give, replace := change(endless("10.0.0.7/24"))
	l.serve("eth0", give)
	stop := l.run(Config{})
	l.told("address=10.0.0.7/24")
	if s := l.state(); find(s, "eth0").Addresses[0].Expires != 0 {
		t.Errorf("the state is %+v", s)
	}
	stop()
	replace(endless("10.0.0.8/24"))
	l.run(Config{})
	l.told("address=10.0.0.8/24")
	l.wantAddresses("eth0", "10.0.0.8/24", "192.0.2.1/32")
	replace(endless("10.0.0.9/24"))
	if err := netlink.LinkSetHardwareAddr(l.link("eth0"), net.HardwareAddr{2, 0, 0, 0, 0, 9}); err != nil {
		t.Fatal(err)
	}
	l.told("address=10.0.0.9/24")
	l.wantAddresses("eth0", "10.0.0.9/24", "192.0.2.1/32")
}
