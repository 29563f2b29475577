package networkd

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
)

// TestStaticBesideRouter has a router whose default route is not wanted, and which goes.
func TestStaticBesideRouter(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	advertise := l.route6("eth0", advertisement(t, "00", "0708", raPrefix))
	l.run(Config{IPAM: &cmdline.IPAM{
		MAC: l.link("eth0").Attrs().HardwareAddr, Address: netip.MustParsePrefix("2001:db8:1::9/64"), Gateway: netip.MustParseAddr("2001:db8:1::1"),
	}})
	l.told("READY=1\nSTATUS=link=eth0 ")
	s := l.until("both addresses", func(s netstate.State) bool { return len(find(s, "eth0").Addresses) == 2 })
	if got := find(s, "eth0").Addresses[1].Gateway; got != netip.MustParseAddr("2001:db8:1::1") {
		t.Errorf("the router's address has the gateway %v", got)
	}
	routes := []string{"2001:db8:1::/64 dev eth0", "default via 2001:db8:1::1 dev eth0"}
	l.wantRoutes(netlink.FAMILY_V6, routes...)
	advertise(advertisement(t, "00", "0000", raPrefix, raDNS))
	l.until("the good-bye", func(s netstate.State) bool { return len(s.DNS) == 1 })
	l.wantRoutes(netlink.FAMILY_V6, routes...)
}

// TestSolicit loses the first questions for routers behind a loss of the carrier.
func TestSolicit(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	advertise := l.route6("eth0", advertisement(t, "00", "0708", raPrefix))
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 ")
	l.plug("eth0", false)
	advertise(nil)
	l.told("link=none")
	questions := l.solicitations("eth0")
	l.plug("eth0", true)
	for range 3 {
		select {
		case <-questions:
		case <-time.After(time.Minute):
			t.Fatal("routers are not asked again")
		}
	}
	advertise(advertisement(t, "00", "0708", raPrefix))
	l.told("link=eth0 ")
}

// solicitations are the questions for routers that reach the other end of a link.
func (l *lab) solicitations(name string) <-chan bool {
	l.Helper()
	heard := make(chan bool, 1000)
	l.out(func() error {
		far, err := net.InterfaceByName("far-" + name)
		if err != nil {
			return err
		}
		c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
		if err != nil {
			return err
		}
		l.Cleanup(func() { c.Close() })
		conn := ipv6.NewPacketConn(c)
		var filter ipv6.ICMPFilter
		filter.SetAll(true)
		filter.Accept(ipv6.ICMPTypeRouterSolicitation)
		if err := conn.SetICMPFilter(&filter); err != nil {
			return err
		}
		go func() {
			for {
				if _, _, _, err := conn.ReadFrom(make([]byte, 1500)); err != nil {
					return
				}
				heard <- true
			}
		}()
		return conn.JoinGroup(far, &net.IPAddr{IP: net.IPv6linklocalallrouters})
	})
	return heard
}

// TestDeadRouter has the better of two routers die without a word, and come back.
func TestDeadRouter(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	l.address("eth0", "fe80::2/64")
	quick := "/proc/sys/net/ipv6/neigh/eth0/retrans_time_ms"
	if err := os.WriteFile(quick, []byte("50"), 0); err != nil {
		t.Fatal(err)
	}
	advertise := l.route6("eth0", advertisement(t, "00", "0708", raPrefix))
	l.routeFrom("eth0", "fe80::2", advertisement(t, "00", "0708", raPrefix))
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 ")
	l.wantRoutes(netlink.FAMILY_V6, "default via fe80::1 dev eth0")
	advertise(nil)
	l.out(func() error {
		link, err := netlink.LinkByName("far-eth0")
		if err != nil {
			return err
		}
		return netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("fe80::1/64"))})
	})
	c, err := net.Dial("udp", "[2001:db8:1::1]:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("somebody there?")); err != nil {
		t.Fatal(err)
	}
	l.wantRoutes(netlink.FAMILY_V6, "default via fe80::2 dev eth0")
	l.address("eth0", "fe80::1/64")
	advertise(advertisement(t, "00", "0708", raPrefix))
	l.wantRoutes(netlink.FAMILY_V6, "default via fe80::1 dev eth0")
}
