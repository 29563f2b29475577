package networkd

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
)

// TestTakeover cuts the cable of the chosen link, and gives it back.
func TestTakeover(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.network("eth0", 0)
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 ")
	l.network("eth1", 1)
	l.wantRoutes(netlink.FAMILY_V4, "10.0.0.0/24 dev eth0", "10.0.1.0/24 dev eth1 reserve", "default via 10.0.0.1 dev eth0", "default via 10.0.1.1 dev eth1 reserve")
	l.plug("eth0", false)
	if got := l.told("link=eth1"); strings.Contains(got, "READY") {
		t.Errorf("told %q", got)
	}
	l.wantRoutes(netlink.FAMILY_V4, "10.0.0.0/24 dev eth0 reserve", "10.0.1.0/24 dev eth1", "default via 10.0.0.1 dev eth0 reserve", "default via 10.0.1.1 dev eth1")
	l.plug("eth0", true)
	l.until("the return of the carrier", func(s netstate.State) bool { return find(s, "eth0").Note == "in reserve" })
	if s := l.state(); s.Link != "eth1" {
		t.Errorf("%s is chosen", s.Link)
	}
}

// TestFlicker cuts the cable of the chosen link for a moment only.
func TestFlicker(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	confirmed := make(chan bool, 100)
	give := grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1"))
	l.serve("eth0", func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		if m.MessageType() == dhcpv4.MessageTypeRequest && m.ServerIdentifier() == nil {
			confirmed <- m.RequestedIPAddress().Equal(net.IPv4(10, 0, 0, 7))
		}
		return give(m)
	})
	l.runWith(Config{}, waits{carrier: time.Hour, deadline: time.Hour, hold: time.Hour})
	l.told("READY=1\nSTATUS=link=eth0 ")
	l.network("eth1", 1)
	l.until("a reserve", func(s netstate.State) bool { return find(s, "eth1").Note == "in reserve" })
	l.plug("eth0", false)
	if s := l.until("the loss of the carrier", func(s netstate.State) bool { return !find(s, "eth0").Carrier }); s.Link != "eth0" {
		t.Errorf("%s is chosen at once", s.Link)
	}
	l.wantWay("10.0.0.55", "eth0")
	l.plug("eth0", true)
	if !<-confirmed {
		t.Error("another address is asked for")
	}
	if s := l.until("the carrier", func(s netstate.State) bool { return find(s, "eth0").Carrier }); s.Link != "eth0" {
		t.Errorf("%s is chosen", s.Link)
	}
}

// TestNoCarrier has cards without cables.
func TestNoCarrier(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	for _, name := range []string{"eth0", "eth1"} {
		l.cable(name, "")
		l.plug(name, false)
	}
	l.run(Config{})
	if got, want := l.told("READY"), "READY=1\nSTATUS=link=none why=\"no carrier on eth0,eth1\""; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	s := l.state()
	if s.Online || !s.Settled || !strings.HasPrefix(s.Hostname, "ember-") || l.file("etc/hostname") != s.Hostname+"\n" {
		t.Errorf("the state is %+v", s)
	}
	l.serve("eth1", grant("10.0.1.1", "10.0.1.7/24", router4("10.0.1.1")))
	l.plug("eth1", true)
	l.told("link=eth1 ")
}

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

// TestUnconfirmed has a preferred link come back without anybody who answers.
func TestUnconfirmed(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.network("eth0", 0)
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
	l.network("eth1", 1)
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
