package networkd

import (
	"fmt"
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
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wantAddresses waits until a link has these IPv4 addresses.
func (l *lab) wantAddresses(name string, want ...string) {
	l.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		has, err := netlink.AddrList(l.link(name), netlink.FAMILY_V4)
		if err != nil {
			l.Fatal(err)
		}
		var got []string
		for _, a := range has {
			got = append(got, a.IPNet.String())
		}
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("%s has %q, want %q", name, got, want)
		}
	}
}

// wantWay waits until packets to an address go out of a link.
func (l *lab) wantWay(to, name string) {
	l.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		routes, err := netlink.RouteGet(net.ParseIP(to))
		if err == nil && len(routes) == 1 && routes[0].LinkIndex == l.link(name).Attrs().Index {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("the way to %s is %v, %v, not %s", to, routes, err, name)
		}
	}
}

// change is an answer that can be replaced.
func change(first answer) (answer, func(answer)) {
	now := make(chan answer, 1)
	now <- first
	return func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			f := <-now
			now <- f
			return f(m)
		}, func(next answer) {
			<-now
			now <- next
		}
}

func silent(*dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return nil }

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

// TestRepair has somebody take away a route, then an address with its routes, then all by setting the link down and up.
func TestRepair(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	l.serve("eth0", grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1")))
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

// TestDeadSubnet cuts the cable of a link. Its networks are reached over another one's router, or directly.
func TestDeadSubnet(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	for i, name := range []string{"eth0", "eth1"} {
		router := fmt.Sprintf("10.0.%d.1", i)
		l.cable(name, router+"/24")
		l.address(name, "fe80::1/64")
		l.serve(name, grant(router, fmt.Sprintf("10.0.%d.7/24", i), router4(router)))
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

// TestUnconfirmed has a preferred link come back without anybody who answers.
func TestUnconfirmed(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	l.serve("eth0", grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1")))
	l.cable("eth1", "10.0.1.1/24")
	give, replace := change(grant("10.0.1.1", "10.0.1.7/24", router4("10.0.1.1")))
	l.serve("eth1", give)
	l.run(Config{HWAddr: l.link("eth1").Attrs().HardwareAddr})
	l.told("READY=1\nSTATUS=link=eth1 ")
	l.until("a reserve", func(s netstate.State) bool { return find(s, "eth0").Note == "in reserve" })
	l.plug("eth1", false)
	l.told("link=eth0 ")
	replace(silent)
	l.plug("eth1", true)
	if s := l.until("the carrier", func(s netstate.State) bool { return find(s, "eth1").Carrier }); s.Link != "eth0" || find(s, "eth1").Note != "lease not confirmed" {
		t.Errorf("the state is %+v", s)
	}
	replace(grant("10.0.1.1", "10.0.1.7/24", router4("10.0.1.1")))
	l.told("link=eth1 ")
}

// TestUnconfirmedAlone has no other link, so that an unconfirmed lease is better than nothing, and so is a way that may
// come back.
func TestUnconfirmedAlone(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	give, replace := change(grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1")))
	l.serve("eth0", give)
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 ")
	replace(silent)
	l.plug("eth0", false)
	l.told("link=none")
	l.wantWay("192.0.2.1", "eth0")
	l.plug("eth0", true)
	l.told("link=eth0 ")
}

// TestAllBack has all links lose their carriers and get them back. The first that does is used at once, and not given up
// while its lease is still to be confirmed.
func TestAllBack(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	before := l.allBack(time.Hour)
	s := l.until("a confirmed lease", func(s netstate.State) bool {
		return find(s, "eth1").Addresses[0].Expires != find(before, "eth1").Addresses[0].Expires
	})
	if s.Link != "eth0" {
		t.Errorf("the state is %+v", s)
	}
}

// TestNotAllBack is TestAllBack with a lease that is not confirmed in time.
func TestNotAllBack(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.allBack(100 * time.Millisecond)
	l.until("the other link", func(s netstate.State) bool { return s.Link == "eth1" })
}

// allBack has the links eth0, in whose network nobody answers any more, and eth1 come back in this order. The state is
// that from before.
func (l *lab) allBack(ipv4 time.Duration) netstate.State {
	l.Helper()
	l.cable("eth0", "10.0.0.1/24")
	give, replace := change(grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1")))
	l.serve("eth0", give)
	l.cable("eth1", "10.0.1.1/24")
	l.serve("eth1", grant("10.0.1.1", "10.0.1.7/24", router4("10.0.1.1")))
	l.runWith(Config{}, waits{carrier: time.Hour, deadline: time.Hour, hold: time.Second, ipv4: ipv4})
	before := l.until("both leases", func(s netstate.State) bool {
		return len(find(s, "eth0").Addresses) == 1 && len(find(s, "eth1").Addresses) == 1
	})
	replace(silent)
	l.plug("eth0", false)
	l.plug("eth1", false)
	l.until("no link", func(s netstate.State) bool { return s.Link == "" && s.Settled })
	l.plug("eth0", true)
	l.until("eth0", func(s netstate.State) bool { return s.Link == "eth0" })
	l.plug("eth1", true)
	return before
}

// small is a lease with an MTU that would end IPv6.
var small = grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1"), dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{1000 >> 8, 1000 & 0xff}))

func TestSmallMTU(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	l.route6("eth0", advertisement(t, "00", "0708", raPrefix))
	l.serve("eth0", small)
	l.runWith(Config{}, waits{carrier: time.Hour, deadline: time.Hour, hold: time.Hour})
	l.until("an MTU", func(s netstate.State) bool { return find(s, "eth0").MTU == leastMTU6 })
	l.wantRoutes(netlink.FAMILY_V6, "default via fe80::1 dev eth0")
}

// TestSmallMTU4 has no IPv6 to be ended.
func TestSmallMTU4(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	questions := l.solicitations("eth0")
	l.serve("eth0", small)
	l.run(Config{})
	l.until("the MTU of the lease", func(s netstate.State) bool { return find(s, "eth0").MTU == 1000 })
	if len(questions) < 2 { // the kernel may have refused one
		t.Errorf("routers were asked %d times before", len(questions))
	}
}

// TestARP asks one of two links for the address of the other one.
func TestARP(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	for i, name := range []string{"eth0", "eth1"} {
		l.cable(name, fmt.Sprintf("10.0.%d.1/16", i))
		l.serve(name, grant(fmt.Sprintf("10.0.%d.1", i), fmt.Sprintf("10.0.%d.7/16", i), router4("10.0.0.1")))
	}
	l.run(Config{})
	l.until("both leases", func(s netstate.State) bool {
		return len(find(s, "eth0").Addresses) == 1 && len(find(s, "eth1").Addresses) == 1
	})
	l.out(func() error {
		far, err := netlink.LinkByName("far-eth0")
		if err != nil {
			return err
		}
		changes, done := make(chan netlink.NeighUpdate), make(chan struct{})
		defer close(done)
		if err := netlink.NeighSubscribe(changes, done); err != nil {
			return err
		}
		for address, want := range map[string]int{"10.0.0.7": netlink.NUD_REACHABLE, "10.0.1.7": netlink.NUD_FAILED} {
			ip := net.ParseIP(address)
			probe := &netlink.Neigh{LinkIndex: far.Attrs().Index, IP: ip, State: netlink.NUD_INCOMPLETE, Flags: netlink.NTF_USE}
			if err := netlink.NeighSet(probe); err != nil {
				return err
			}
			for c := range changes {
				if c.LinkIndex != far.Attrs().Index || !c.IP.Equal(ip) || c.State&(netlink.NUD_REACHABLE|netlink.NUD_FAILED) == 0 {
					continue
				}
				if c.State != want {
					t.Errorf("the state of %s is %#x", address, c.State)
				}
				break
			}
		}
		return nil
	})
}

// TestUnread has the links change while they are read, which nobody is told.
func TestUnread(t *testing.T) {
	d := &daemon{look: make(chan struct{}, 1)}
	d.Log = logline.New(writer(func(line string) {
		if !strings.HasPrefix(line, "<7>") {
			t.Errorf("told %s", line)
		}
	}), slog.LevelDebug)
	d.unread(fmt.Errorf("reading: %w", netlink.ErrDumpInterrupted))
	select {
	case <-d.look:
	default:
		t.Error("they are not read again at once")
	}
}

// address gives the other end of a link an address.
func (l *lab) address(name, address string) {
	l.Helper()
	l.out(func() error {
		link, err := netlink.LinkByName("far-" + name)
		if err != nil {
			return err
		}
		return netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(address)), Flags: unix.IFA_F_NODAD})
	})
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
