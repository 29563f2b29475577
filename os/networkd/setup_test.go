package networkd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
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

// runBridged runs a daemon for which a bridge, which the test makes, stands for the
// bond: not every kernel has bonds. It gives what the daemon says.
func (l *lab) runBridged(c Config) <-chan string {
	l.Helper()
	said := make(chan string, 1000)
	c.Root = l.root
	c.Physical = func(k netlink.Link) bool { return k.Type() == "veth" }
	c.Notify = func(s string) { l.notes <- s }
	c.Log = logline.New(writer(func(line string) { l.Log(line); said <- line }), slog.LevelDebug)
	d := newDaemon(c, waits{carrier: time.Second, deadline: time.Hour, hold: time.Second})
	ctx, cancel := context.WithCancel(l.Context())
	ended := make(chan bool)
	go d.watch(ctx, d.watchLinks)
	go func() {
		d.loop(ctx)
		close(ended)
	}()
	l.Cleanup(func() {
		cancel()
		<-ended
	})
	return said
}

func (l *lab) bridge(name string) netlink.Link {
	l.Helper()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(bridge); err != nil {
		l.Fatal(err)
	}
	return bridge
}

func (l *lab) link(name string) netlink.Link {
	l.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		l.Fatal(err)
	}
	return link
}

// TestMember has a bond that is there late, and that loses its member.
func TestMember(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "")
	said := l.runBridged(Config{Bonds: []cmdline.Bond{{Name: "bond0", Members: []string{"eth0"}}}})
	l.until("a member without a bond", func(s netstate.State) bool { return find(s, "eth0").Note == "not in bond0" })
	for range 2 {
		for line := <-said; !strings.Contains(line, "bringing up a link link=eth0"); line = <-said {
		}
	}
	if up := l.link("eth0").Attrs().Flags & net.FlagUp; up != 0 {
		t.Error("it is up outside of the bond")
	}
	bond := l.bridge("bond0")
	l.until("a member", func(s netstate.State) bool { return find(s, "eth0").Note == "part of bond0" && find(s, "eth0").Carrier })
	if err := netlink.LinkSetNoMaster(l.link("eth0")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); l.link("eth0").Attrs().MasterIndex != bond.Attrs().Index; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come back")
		}
	}
}

// TestBondMAC has a bond with a member that hw_addr names.
func TestBondMAC(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.bridge("bond0")
	l.cable("eth0", "")
	mac := net.HardwareAddr{0xfe, 0xff, 0xff, 0, 0, 1} // a bridge takes the lowest one by itself
	l.cable("eth1", "")
	if err := netlink.LinkSetHardwareAddr(l.link("eth1"), mac); err != nil {
		t.Fatal(err)
	}
	l.runBridged(Config{HWAddr: mac, Bonds: []cmdline.Bond{{Name: "bond0", Members: []string{"eth0", "eth1"}}}})
	l.until("members", func(s netstate.State) bool {
		return find(s, "eth0").Note == "part of bond0" && find(s, "eth1").Note == "part of bond0"
	})
	if got := l.link("bond0").Attrs().HardwareAddr; !bytes.Equal(got, mac) {
		t.Errorf("the address of the bond is %v, want %v", got, mac)
	}
}

// TestWhoseMAC has a bond whose members have not joined yet.
func TestWhoseMAC(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	own, first, second := net.HardwareAddr{2, 0, 0, 0, 0, 9}, net.HardwareAddr{2, 0, 0, 0, 0, 2}, net.HardwareAddr{2, 0, 0, 0, 0, 1}
	l.bridge("bond0")
	for name, mac := range map[string]net.HardwareAddr{"eth0": first, "eth1": second} {
		l.cable(name, "")
		if err := netlink.LinkSetHardwareAddr(l.link(name), mac); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		about    string
		hwAddr   net.HardwareAddr
		failOver string
		joined   bool // eth0 has
		known    bool // eth1 was there before
		want     net.HardwareAddr
	}{
		{about: "nothing said", want: first},
		{about: "hw_addr", hwAddr: second, want: second},
		{about: "hw_addr of no member", hwAddr: own, want: first},
		{about: "fail_over_mac", hwAddr: second, failOver: "active", want: own},
		{about: "fail_over_mac=none", failOver: "none", want: first},
		{about: "a member is there", joined: true, want: own},
		{about: "hw_addr comes later", joined: true, hwAddr: second, want: second},
		{about: "hw_addr does not come", joined: true, known: true, hwAddr: second, want: own},
	} {
		if err := netlink.LinkSetHardwareAddr(l.link("bond0"), own); err != nil {
			t.Fatal(err)
		}
		d := &daemon{links: map[int]*link{}, failing: map[string]bool{}}
		d.Log = slog.New(slog.NewTextHandler(l.Output(), nil))
		d.Physical = func(k netlink.Link) bool { return k.Type() == "veth" }
		d.HWAddr = tt.hwAddr
		d.Bonds = []cmdline.Bond{{Name: "bond0", Members: []string{"eth0", "eth1"}, Options: map[string]string{"fail_over_mac": tt.failOver}}}
		infos, err := d.infos()
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(infos, func(a, b info) int { return strings.Compare(a.name, b.name) })
		for n := range infos {
			if tt.joined && infos[n].name == "eth0" {
				infos[n].master = l.link("bond0").Attrs().Index
			}
			if tt.known && infos[n].name == "eth1" {
				d.links[infos[n].index] = &link{}
			}
		}
		d.giveMACs(infos, d.plan(infos), time.Now())
		if got := l.link("bond0").Attrs().HardwareAddr; !bytes.Equal(got, tt.want) {
			t.Errorf("%s: the bond has %v, want %v", tt.about, got, tt.want)
		}
	}
}

// TestNoVLAN has a VLAN whose name another link has at first.
func TestNoVLAN(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "")
	l.bridge("eth0.7")
	said := l.runBridged(Config{VLAN: 7})
	for range 2 {
		for line := <-said; !strings.Contains(line, "bringing up a link link=eth0") || !strings.Contains(line, "making eth0.7"); line = <-said {
		}
	}
	if got, want := l.told("READY"), "READY=1\nSTATUS=link=none why=\"no VLAN 7 on eth0\""; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if s := l.state(); find(s, "eth0").Note != "no VLAN 7" || !find(s, "eth0").Carrier {
		t.Errorf("the state is %+v", s)
	}
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
