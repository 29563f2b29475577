package networkd

import (
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/dhcpv6/server6"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
)

// Router advertisements: the header without the lifetime, and options.
const (
	raHead   = "86 00 0000 40 %f "
	raPrefix = "03 04 40 c0 00015180 00003840 00000000 20010db8000000000000000000000000"
	raOnLink = "03 04 40 80 00015180 00003840 00000000 20010db8000000000000000000000000" // no addresses of it
	raDNS    = "19 03 0000 00000258 fe800000000000000000000000000001"
	raSearch = "1f 03 0000 0000012c 04 7261636b 07 6578616d706c65 00 0000"
)

func advertisement(t *testing.T, flags, lifetime string, options ...string) []byte {
	t.Helper()
	text := strings.Replace(raHead, "%f", flags, 1) + lifetime + strings.Repeat("00", 8) + strings.Join(options, "")
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// route6 runs a router at the other end of a link, whose address must be fe80::1. It
// gives a function that has it advertise something else, or nothing.
func (l *lab) route6(name string, first []byte) func([]byte) {
	l.Helper()
	return l.routeFrom(name, "fe80::1", first)
}

// routeFrom is route6 for another address.
func (l *lab) routeFrom(name, address string, first []byte) func([]byte) {
	l.Helper()
	var conn net.PacketConn
	l.out(func() (err error) {
		conn, err = net.ListenPacket("ip6:ipv6-icmp", address+"%far-"+name)
		return err
	})
	l.Cleanup(func() { conn.Close() })
	next := make(chan []byte)
	go func() {
		everyone := &net.IPAddr{IP: net.IPv6linklocalallnodes, Zone: "far-" + name}
		often := time.NewTicker(200 * time.Millisecond)
		defer often.Stop()
		for b := first; ; {
			if b == nil {
				// it says nothing
			} else if _, err := ipv6.NewPacketConn(conn).WriteTo(b, &ipv6.ControlMessage{HopLimit: 255}, everyone); err != nil {
				l.Log("advertising: ", err)
			}
			select {
			case <-l.Context().Done():
				return
			case b = <-next:
			case <-often.C:
			}
		}
	}()
	return func(b []byte) { next <- b }
}

// TestIPv6Only has no answer to DHCP.
func TestIPv6Only(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	advertise := l.route6("eth0", advertisement(t, "00", "0708", raPrefix, raDNS, raSearch))
	l.run(Config{})
	got := l.told("READY")
	if !strings.HasPrefix(got, "READY=1\nSTATUS=link=eth0 address=2001:db8::") || !strings.HasSuffix(got, "/64 gateway=fe80::1 by=slaac") {
		t.Errorf("told %q", got)
	}
	l.wantRoutes(netlink.FAMILY_V6, "default via fe80::1 dev eth0")
	if got := l.file("etc/resolv.conf"); !strings.HasSuffix(got, "\nsearch rack.example\nnameserver fe80::1%eth0\n") {
		t.Errorf("resolv.conf is %q", got)
	}
	advertise(advertisement(t, "00", "0000", raPrefix))
	l.told("gateway=none")
	l.wantRoutes(netlink.FAMILY_V6)
	if s := l.state(); s.Online || s.Link != "eth0" || len(s.DNS) > 0 {
		t.Errorf("without a router the state is %+v", s)
	}
}

// TestBoth has IPv4 and IPv6, and waits for IPv6 no longer than for IPv4.
func TestBoth(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	l.route6("eth0", advertisement(t, "00", "0708", raPrefix))
	l.serve("eth0", grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1"), dhcpv4.OptDNS(net.IPv4(10, 0, 0, 53))))
	l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 address=10.0.0.7/24")
	s := l.until("an address of each kind", func(s netstate.State) bool { return len(find(s, "eth0").Addresses) == 2 })
	if a := find(s, "eth0").Addresses[1]; a.Source != netstate.SLAAC || a.Gateway != netip.MustParseAddr("fe80::1") {
		t.Errorf("the other address is %+v", a)
	}
	l.wantRoutes(netlink.FAMILY_V4, "10.0.0.0/24 dev eth0", "default via 10.0.0.1 dev eth0")
	l.wantRoutes(netlink.FAMILY_V6, "default via fe80::1 dev eth0")
}

// TestManaged has addresses of DHCPv6 only.
func TestManaged(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	l.route6("eth0", advertisement(t, "80", "0708", raOnLink))
	l.serve6("eth0", dhcpv6.WithIANA(dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP("2001:db8::7"), PreferredLifetime: time.Hour, ValidLifetime: time.Hour}),
		dhcpv6.WithDNS(net.ParseIP("2001:db8::53")), dhcpv6.WithDomainSearchList("rack.example"))
	l.run(Config{})
	if got, want := l.told("READY"), "READY=1\nSTATUS=link=eth0 address=2001:db8::7/128 gateway=fe80::1 by=dhcp6"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if got := l.file("etc/resolv.conf"); !strings.HasSuffix(got, "\nsearch rack.example\nnameserver 2001:db8::53\n") {
		t.Errorf("resolv.conf is %q", got)
	}
}

// TestOther has addresses of the prefix, and the rest of DHCPv6.
func TestOther(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	l.route6("eth0", advertisement(t, "40", "0708", raPrefix))
	l.serve6("eth0", dhcpv6.WithDNS(net.ParseIP("2001:db8::53")))
	l.run(Config{})
	l.told("by=slaac")
	l.until("a name server", func(s netstate.State) bool {
		return slices.Equal(s.DNS, []netip.Addr{netip.MustParseAddr("2001:db8::53")})
	})
}

// serve6 runs a DHCPv6 server at the other end of a link.
func (l *lab) serve6(name string, with ...dhcpv6.Modifier) {
	l.Helper()
	id := &dhcpv6.DUIDEN{EnterpriseNumber: 32473, EnterpriseIdentifier: []byte("lab")}
	answer := func(c net.PacketConn, from net.Addr, d dhcpv6.DHCPv6) {
		m, ok := d.(*dhcpv6.Message)
		if !ok {
			return
		}
		r, err := dhcpv6.NewReplyFromMessage(m, append([]dhcpv6.Modifier{dhcpv6.WithServerID(id)}, with...)...)
		if m.MessageType == dhcpv6.MessageTypeSolicit {
			r, err = dhcpv6.NewAdvertiseFromSolicit(m, append([]dhcpv6.Modifier{dhcpv6.WithServerID(id)}, with...)...)
		}
		if err != nil {
			l.Error(err)
			return
		}
		if _, err := c.WriteTo(r.ToBytes(), from); err != nil {
			l.Log("the DHCPv6 server cannot answer: ", err)
		}
	}
	l.out(func() error {
		s, err := server6.NewServer("far-"+name, nil, answer)
		if err != nil {
			return err
		}
		go s.Serve()
		l.Cleanup(func() { s.Close() })
		return nil
	})
}

func TestStaticIPv6(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "2001:db8::1/64")
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	l.run(Config{IPAM: &cmdline.IPAM{
		MAC: link.Attrs().HardwareAddr, Address: netip.MustParsePrefix("2001:db8::9/64"), Gateway: netip.MustParseAddr("2001:db8::1"),
	}})
	if got, want := l.told("READY"), "READY=1\nSTATUS=link=eth0 address=2001:db8::9/64 gateway=2001:db8::1 by=static"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	l.wantRoutes(netlink.FAMILY_V6, "2001:db8::/64 dev eth0", "default via 2001:db8::1 dev eth0")
}
