package networkd

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

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

// TestSmallMTU has a lease with an MTU that would end IPv6.
func TestSmallMTU(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	l.route6("eth0", advertisement(t, "00", "0708", raPrefix))
	l.serve("eth0", grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1"), dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{1000 >> 8, 1000 & 0xff})))
	l.run(Config{})
	l.until("an MTU", func(s netstate.State) bool { return find(s, "eth0").MTU == leastMTU6 })
	l.wantRoutes(netlink.FAMILY_V6, "default via fe80::1 dev eth0")
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

// TestUnconfirmedAlone has no other link, so that an unconfirmed lease is better than nothing.
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
	l.plug("eth0", true)
	l.told("link=eth0 ")
}
