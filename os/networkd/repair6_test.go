package networkd

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/networkd/dhcp6"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
)

// TestFlicker6 is TestFlicker for a network with IPv6 alone.
func TestFlicker6(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	l.route6("eth0", advertisement(t, "00", "0708", raPrefix))
	l.runWith(Config{}, waits{carrier: time.Hour, deadline: time.Hour, hold: time.Hour, ipv4: 2 * time.Second})
	l.told("READY=1\nSTATUS=link=eth0 ")
	l.plug("eth0", false)
	l.until("the loss of the carrier", func(s netstate.State) bool { return !find(s, "eth0").Carrier })
	l.plug("eth0", true)
	if s := l.until("the carrier", func(s netstate.State) bool { return find(s, "eth0").Carrier }); !s.Online {
		t.Errorf("the state is %+v", s)
	}
}

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

// TestInUse has another machine with the address of the lease.
func TestInUse(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	l.address("eth0", "2001:db8::7/64")
	l.route6("eth0", advertisement(t, "80", "0708", raOnLink))
	l.serve6("eth0", dhcpv6.WithIANA(dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP("2001:db8::7"), PreferredLifetime: time.Hour, ValidLifetime: time.Hour}))
	l.wantInUse(Config{}, "2001:db8::7")
}

// TestStaticInUse has another machine with the static address, which the kernel keeps.
func TestStaticInUse(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "2001:db8::7/64")
	l.wantInUse(Config{IPAM: &cmdline.IPAM{
		MAC: l.link("eth0").Attrs().HardwareAddr, Address: netip.MustParsePrefix("2001:db8::7/64"), Gateway: netip.MustParseAddr("2001:db8::1"),
	}}, "2001:db8::7")
}

// wantInUse waits until the daemon says that another machine has an address.
func (l *lab) wantInUse(c Config, address string) {
	l.Helper()
	said := make(chan bool, 1000)
	c.Log = logline.New(writer(func(line string) {
		l.Log(line)
		if strings.HasPrefix(line, "<4>") && strings.Contains(line, "another machine") && strings.Contains(line, address) {
			said <- true
		}
	}), slog.LevelDebug)
	l.run(c)
	select {
	case <-said:
	case <-time.After(time.Minute):
		l.Fatal("it is not said")
	}
	s := l.until("a note", func(s netstate.State) bool { return find(s, "eth0").Note == "address is in use" })
	if s.Online {
		l.Errorf("the state is %+v", s)
	}
	if len(said) > 0 {
		l.Errorf("it is said %d times more", len(said))
	}
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

// TestManyInUse has somebody claim all addresses that there can be.
func TestManyInUse(t *testing.T) {
	d := &daemon{links: map[int]*link{1: {assignment: assignment{role: configured}}}}
	d.Log = slog.New(slog.DiscardHandler)
	for i := range 1000 {
		d.setInUse(1, netip.AddrFrom16([16]byte{0: 0x20, 14: byte(i >> 8), 15: byte(i)}))
	}
	if n := len(d.links[1].inUse); n != mostInUse {
		t.Errorf("%d are known", n)
	}
}

// TestBothWays has DHCPv6 give the address that the kernel has made of a router's prefix.
func TestBothWays(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "")
	if err := netlink.AddrAdd(l.link("eth0"), &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("2001:db8::7/64"))}); err != nil {
		t.Fatal(err)
	}
	index := l.link("eth0").Attrs().Index
	k := &link{info: info{name: "eth0", index: index}, owned: map[netip.Prefix]bool{}, lease6: &dhcp6.Lease{Address: netip.MustParseAddr("2001:db8::7")}}
	d := &daemon{failing: map[string]bool{}, links: map[int]*link{index: k}}
	d.Physical = func(netlink.Link) bool { return true }
	d.setAddresses(k, time.Now())
	infos, err := d.infos()
	if err != nil {
		t.Fatal(err)
	}
	k.info = infos[slices.IndexFunc(infos, func(i info) bool { return i.index == index })]
	d.compareAddresses(k)
	if len(k.given) != 1 {
		t.Errorf("it is given again: the link has %v", k.has)
	}
}
