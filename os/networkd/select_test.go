package networkd

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
)

// find is the state of a link, zero if there is none.
func find(s netstate.State, name string) netstate.Link {
	if i := slices.IndexFunc(s.Links, func(l netstate.Link) bool { return l.Name == name }); i >= 0 {
		return s.Links[i]
	}
	return netstate.Link{}
}

// TestRouteLess has a USB NIC of a BMC first, whose leases lead nowhere.
func TestRouteLess(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("usb0", "169.254.3.1/24")
	l.serve("usb0", grant("169.254.3.1", "169.254.3.7/24", router4("169.254.3.1")))
	l.cable("usb1", "10.1.0.1/24")
	l.serve("usb1", grant("10.1.0.1", "10.1.0.7/24", dhcpv4.OptDNS(net.IPv4(10, 1, 0, 53))))
	l.run(Config{})
	l.until("a lease of both BMCs", func(s netstate.State) bool {
		return len(find(s, "usb0").Addresses) == 1 && len(find(s, "usb1").Addresses) == 1
	})
	if s := l.state(); s.Settled || s.Online || find(s, "usb1").Note != "no default route" {
		t.Errorf("with the BMCs alone: %+v", s)
	}
	l.cable("eth0", "10.0.0.1/24")
	l.serve("eth0", grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1"), dhcpv4.OptDNS(net.IPv4(10, 0, 0, 53))))
	l.told("READY=1\nSTATUS=link=eth0 ")
	if s := l.state(); find(s, "usb0").Note != "no usable address" || find(s, "usb1").Note != "no default route" || find(s, "eth0").Note != "" {
		t.Errorf("the notes are wrong: %+v", s)
	}
	l.wantRoutes(netlink.FAMILY_V4, "10.0.0.0/24 dev eth0", "10.1.0.0/24 dev usb1 reserve", "169.254.3.0/24 dev usb0 reserve",
		"default via 10.0.0.1 dev eth0", "default via 169.254.3.1 dev usb0 reserve")
	if got := l.file("etc/resolv.conf"); !strings.HasSuffix(got, "\nnameserver 10.0.0.53\n") {
		t.Errorf("resolv.conf is %q", got)
	}
}

// TestDeadline takes what there is when the time is over, and better when it comes.
func TestDeadline(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.1.0.1/24")
	l.serve("eth0", grant("10.1.0.1", "10.1.0.7/24"))
	l.runWith(Config{}, waits{carrier: time.Hour, deadline: time.Second, hold: time.Second})
	if got, want := l.told("READY"), "READY=1\nSTATUS=link=eth0 address=10.1.0.7/24 gateway=none by=dhcp4"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if s := l.state(); s.Online || !s.Settled {
		t.Errorf("the state is %+v", s)
	}
	l.network("eth1", 0)
	l.told("link=eth1 address=10.0.0.7/24 gateway=10.0.0.1 by=dhcp4")
}

// TestGone takes the chosen card out of the machine, and puts in another.
func TestGone(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.network("eth0", 0)
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 ")
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	if got, want := l.told("link=none"), "STATUS=link=none why=\"no network card that was asked for\""; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	l.network("eth0", 1)
	l.told("link=eth0 address=10.0.1.7/24")
	if err := netlink.LinkSetDown(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}}); err != nil {
		t.Fatal(err)
	}
	l.wantRoutes(netlink.FAMILY_V4, "10.0.1.0/24 dev eth0", "default via 10.0.1.1 dev eth0")
}

// TestHWAddr prefers the link that booted, and it takes the network back.
func TestHWAddr(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.network("eth0", 0)
	l.network("eth1", 1)
	link, err := netlink.LinkByName("eth1")
	if err != nil {
		t.Fatal(err)
	}
	l.run(Config{HWAddr: link.Attrs().HardwareAddr})
	l.told("READY=1\nSTATUS=link=eth1 ")
	l.plug("eth1", false)
	l.told("link=eth0 ")
	l.plug("eth1", true)
	l.told("link=eth1 ")
}

func TestInterface(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	l.serve("eth0", func(*dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		t.Error("a link that was not asked for has DHCP")
		return nil
	})
	l.network("eth1", 1)
	l.run(Config{Interface: "eth1"})
	l.told("READY=1\nSTATUS=link=eth1 ")
	if got := find(l.state(), "eth0").Note; got != "not asked for" {
		t.Errorf("the note is %q", got)
	}
}

// TestStaticLocal: nobody waits for a way out that is not asked for.
func TestStaticLocal(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	l.run(Config{IPAM: &cmdline.IPAM{
		MAC: link.Attrs().HardwareAddr, Address: netip.MustParsePrefix("10.0.0.9/24"), DNS: []netip.Addr{netip.MustParseAddr("10.0.0.53")},
	}})
	if got, want := l.told("READY"), "READY=1\nSTATUS=link=eth0 address=10.0.0.9/24 gateway=none by=static"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if s := l.state(); !s.Online || len(s.DNS) != 1 {
		t.Errorf("the state is %+v", s)
	}
}

// TestStatic has a link that is down at first.
func TestStatic(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	l.serve("eth0", func(*dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		t.Error("a link with a static address has DHCP")
		return nil
	})
	l.cable("eth1", "10.0.1.1/24")
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	log := logline.New(writer(func(line string) {
		if l.Log(line); strings.HasPrefix(line, "<3>") {
			t.Error("that is no error")
		}
	}), slog.LevelDebug)
	l.run(Config{Log: log, IPAM: &cmdline.IPAM{
		MAC: link.Attrs().HardwareAddr, Address: netip.MustParsePrefix("10.0.0.9/24"), Gateway: netip.MustParseAddr("10.0.0.1"),
		Hostname: "node9.rack.example", DNS: []netip.Addr{netip.MustParseAddr("10.0.0.53")}, Search: []string{"a.example"}, NTP: []string{"ntp.example"},
	}})
	if got, want := l.told("READY"), "READY=1\nSTATUS=link=eth0 address=10.0.0.9/24 gateway=10.0.0.1 by=static"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if got, want := l.routes(netlink.FAMILY_V4), []string{"10.0.0.0/24 dev eth0", "default via 10.0.0.1 dev eth0"}; !slices.Equal(got, want) {
		t.Errorf("when there is a network the routes are %q, want %q", got, want)
	}
	s := l.state()
	if s.Hostname != "node9" || s.Domain != "rack.example" || !slices.Equal(s.NTP, []string{"ntp.example"}) {
		t.Errorf("the state is %+v", s)
	}
	if got := l.file("etc/resolv.conf"); !strings.HasSuffix(got, "\nsearch a.example rack.example\nnameserver 10.0.0.53\n") {
		t.Errorf("resolv.conf is %q", got)
	}
	if got := l.file("etc/hosts"); !strings.Contains(got, "127.0.1.1 node9.rack.example node9 ") {
		t.Errorf("hosts is %q", got)
	}
}

// TestStaticUnderscore has a name that no host may have, which does not cost the machine its address.
func TestStaticUnderscore(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	said := make(chan bool, 1)
	log := logline.New(writer(func(line string) {
		if l.Log(line); strings.HasPrefix(line, "<4>") && strings.Contains(line, "name=node_9") {
			said <- true
		}
	}), slog.LevelDebug)
	l.run(Config{Log: log, IPAM: &cmdline.IPAM{
		MAC: l.link("eth0").Attrs().HardwareAddr, Address: netip.MustParsePrefix("10.0.0.9/24"), Hostname: "node_9.rack.example",
	}})
	l.told("READY=1\nSTATUS=link=eth0 address=10.0.0.9/24")
	if s := l.state(); len(said) != 1 || !strings.HasPrefix(s.Hostname, "ember-") || s.Domain != "rack.example" {
		t.Errorf("the state is %+v; it is said: %v", s, len(said) == 1)
	}
}
