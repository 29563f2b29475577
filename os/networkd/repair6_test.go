package networkd

import (
	"net"
	"testing"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"golang.org/x/net/ipv6"
)

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
