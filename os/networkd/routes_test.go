package networkd

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
)

// TestRepair has somebody take away a route, then an address with its routes, then all by setting the link down and up.
func TestRepair(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.network("eth0", 0)
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 ")
	link := l.link("eth0")
	whole := []string{"10.0.0.0/24 dev eth0", "default via 10.0.0.1 dev eth0"}
	l.wantRoutes(netlink.FAMILY_V4, whole...)
	everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	if err := netlink.RouteDel(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: everywhere}); err != nil {
		t.Fatal(err)
	}
	l.wantRoutes(netlink.FAMILY_V4, whole...)
	if err := netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.0.0.7/24"))}); err != nil {
		t.Fatal(err)
	}
	l.wantAddresses("eth0", "10.0.0.7/24")
	l.wantRoutes(netlink.FAMILY_V4, whole...)
	if err := netlink.LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	l.wantRoutes(netlink.FAMILY_V4, whole...)
}

// TestDeadSubnet cuts the cable of a link. Its networks are reached over another one's router, or directly.
func TestDeadSubnet(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	for i, name := range []string{"eth0", "eth1"} {
		l.network(name, i)
		l.address(name, "fe80::1/64")
		l.route6(name, advertisement(t, "00", "0708", raPrefix))
	}
	l.run(Config{HWAddr: l.link("eth0").Attrs().HardwareAddr})
	l.told("READY=1\nSTATUS=link=eth0 ")
	l.until("all addresses", func(s netstate.State) bool {
		return len(find(s, "eth0").Addresses) == 2 && len(find(s, "eth1").Addresses) == 2
	})
	l.wantWay("10.0.0.55", "eth0")
	l.plug("eth0", false)
	l.told("link=eth1")
	l.wantWay("10.0.0.55", "eth1")
	l.wantWay("2001:db8::55", "eth1")
}

// TestSameDestination has a lease with two routes to one network, and one to that of its address.
func TestSameDestination(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	_, ten, _ := net.ParseCIDR("10.9.0.0/16")
	_, own, _ := net.ParseCIDR("10.0.0.0/24")
	l.serve("eth0", grant("10.0.0.1", "10.0.0.7/24", dhcpv4.OptClasslessStaticRoute(
		&dhcpv4.Route{Dest: ten, Router: net.IPv4(10, 0, 0, 9)}, &dhcpv4.Route{Dest: ten, Router: net.IPv4(10, 0, 0, 8)},
		&dhcpv4.Route{Dest: own, Router: net.IPv4(10, 0, 0, 1)})))
	l.runWith(Config{}, waits{carrier: time.Hour, deadline: time.Second, hold: time.Hour})
	l.told("READY=1\nSTATUS=link=eth0 ")
	l.wantRoutes(netlink.FAMILY_V4, "10.0.0.0/24 via 10.0.0.1 dev eth0", "10.9.0.0/16 via 10.0.0.9 dev eth0")
}

// TestQuarrel has somebody remove a route each time it is added.
func TestQuarrel(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "")
	if err := netlink.LinkSetUp(l.link("eth0")); err != nil {
		t.Fatal(err)
	}
	d := &daemon{installed: map[route]bool{}, tried: map[route]attempt{}}
	d.Log = slog.New(slog.NewTextHandler(l.Output(), nil))
	r := route{link: l.link("eth0").Attrs().Index, dest: netip.MustParsePrefix("10.9.0.0/16"), metric: chosenMetric}
	now := time.Now()
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {retry / 2, false}, {retry, true}} {
		d.again = time.Time{}
		d.addRoute(r, now.Add(tt.after))
		if d.installed[r] != tt.want || len(l.routes(netlink.FAMILY_V4)) == 1 != tt.want {
			t.Errorf("after %v it is added: %v", tt.after, d.installed[r])
		}
		if !tt.want && d.again != now.Add(retry) {
			t.Errorf("it is tried again at %v", d.again)
		}
		if tt.want {
			delete(d.installed, r)
			if err := netlink.RouteDel(r.netlink()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestDown has a link that is not up yet.
func TestDown(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "")
	k := &link{info: info{name: "eth0", index: l.link("eth0").Attrs().Index}, assignment: assignment{role: configured}, owned: map[netip.Prefix]bool{}}
	d := &daemon{chosen: "eth0", links: map[int]*link{k.index: k}, failing: map[string]bool{}}
	d.installed, d.tried, d.adopted = map[route]bool{}, map[route]attempt{}, map[int]bool{}
	d.Log = slog.New(slog.NewTextHandler(writer(func(line string) { t.Error(line) }), nil))
	d.IPAM = &cmdline.IPAM{Address: netip.MustParsePrefix("10.0.0.7/24"), Gateway: netip.MustParseAddr("10.0.0.1")}
	now := time.Now()
	d.setAddresses(k, now)
	d.setRoutes(now)
	if err := netlink.LinkSetUp(l.link("eth0")); err != nil {
		t.Fatal(err)
	}
	k.up = true
	d.setRoutes(now)
	if got, want := l.routes(netlink.FAMILY_V4), []string{"10.0.0.0/24 dev eth0", "default via 10.0.0.1 dev eth0"}; !slices.Equal(got, want) {
		t.Errorf("the routes are %q, want %q", got, want)
	}
}
