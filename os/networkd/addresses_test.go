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
	"github.com/ember-os/ember/os/networkd/dhcp4"
	"github.com/ember-os/ember/os/networkd/dhcp6"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/vishvananda/netlink"
)

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

// often makes leases that are renewed after a second.
var often = []dhcpv4.Option{router4("10.0.0.1"), dhcpv4.OptIPAddressLeaseTime(time.Minute), dhcpv4.OptRenewTimeValue(time.Second)}

// TestNewMask has a renewal with the same address and another mask.
func TestNewMask(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	give, replace := change(grant("10.0.0.1", "10.0.0.7/24", often...))
	l.serve("eth0", give)
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 address=10.0.0.7/24")
	replace(grant("10.0.0.1", "10.0.0.7/16", often...))
	l.told("address=10.0.0.7/16")
	l.wantRoutes(netlink.FAMILY_V4, "10.0.0.0/16 dev eth0", "default via 10.0.0.1 dev eth0")
	l.wantAddresses("eth0", "10.0.0.7/16")
}

// TestForeignAddresses has others give the link addresses: in the network of the lease and elsewhere.
func TestForeignAddresses(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	renewals := make(chan bool, 1000)
	give, replace := change(grant("10.0.0.1", "10.0.0.7/24", often...))
	l.serve("eth0", func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		if !m.ClientIPAddr.IsUnspecified() {
			renewals <- true
		}
		return give(m)
	})
	stop := l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 address=10.0.0.7/24")
	for _, a := range []string{"10.0.0.100/24", "192.0.2.1/32"} {
		if err := netlink.AddrAdd(l.link("eth0"), &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(a))}); err != nil {
			t.Fatal(err)
		}
	}
	before := l.state().Links[0].Addresses[0].Expires
	<-renewals
	l.until("a renewal", func(s netstate.State) bool { return s.Links[0].Addresses[0].Expires != before })
	l.wantAddresses("eth0", "10.0.0.100/24", "10.0.0.7/24", "192.0.2.1/32")
	replace(grant("10.0.0.1", "10.0.0.8/24", often...))
	l.told("address=10.0.0.8/24")
	l.wantAddresses("eth0", "10.0.0.100/24", "10.0.0.8/24", "192.0.2.1/32")
	stop()
	replace(grant("10.0.0.1", "10.0.1.9/24", often...))
	l.run(Config{})
	l.told("address=10.0.1.9/24")
	l.wantAddresses("eth0", "10.0.0.100/24", "10.0.1.9/24", "192.0.2.1/32")
}

// TestAddressQuarrel has somebody take away one of two addresses each time it is given.
func TestAddressQuarrel(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "")
	k := &link{info: info{name: "eth0", index: l.link("eth0").Attrs().Index}, owned: map[netip.Prefix]bool{}}
	k.lease = &dhcp4.Lease{Address: netip.MustParsePrefix("10.0.0.7/24")}
	k.lease6 = &dhcp6.Lease{Address: netip.MustParseAddr("2001:db8::7")}
	d := &daemon{failing: map[string]bool{}}
	now := time.Now()
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {retry / 2, false}, {retry, true}} {
		d.again = time.Time{}
		k.has = []netip.Prefix{k.lease.Address}
		d.compareAddresses(k)
		d.setAddresses(k, now.Add(tt.after))
		has, err := netlink.AddrList(l.link("eth0"), netlink.FAMILY_V6)
		if err != nil || len(has) == 1 != tt.want {
			t.Errorf("after %v the link has %v, %v", tt.after, has, err)
		}
		if !tt.want && d.again != now.Add(retry) {
			t.Errorf("it is tried again at %v", d.again)
		}
		for _, a := range has {
			if err := netlink.AddrDel(l.link("eth0"), &a); err != nil {
				t.Fatal(err)
			}
		}
	}
	k.lease = &dhcp4.Lease{Address: netip.MustParsePrefix("10.0.1.8/24")}
	d.setAddresses(k, now.Add(retry))
	l.wantAddresses("eth0", "10.0.1.8/24")
}
