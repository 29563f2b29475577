package networkd

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
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
