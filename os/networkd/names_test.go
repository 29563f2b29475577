package networkd

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/networkd/dhcp4"
	"github.com/ember-os/ember/os/networkd/dhcp6"
	"github.com/ember-os/ember/os/networkd/ra"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// TestInheritance has a second daemon that gets no lease at first, and then one without
// a name. What the first one knew stays.
func TestInheritance(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	var give atomic.Value
	give.Store(grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1"), dhcpv4.OptDNS(net.IPv4(10, 0, 0, 53)), dhcpv4.OptHostName("node7"),
		dhcpv4.OptDomainName("rack.example"), dhcpv4.OptNTPServers(net.IPv4(10, 0, 0, 123))))
	l.serve("eth0", func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return give.Load().(answer)(m) })
	stop := l.run(Config{})
	l.told("READY=1\nSTATUS=link=eth0 ")
	stop()
	give.Store(answer(func(*dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return nil }))
	l.runWith(Config{}, waits{carrier: time.Hour, deadline: time.Second, hold: time.Second})
	l.told("READY=1\nSTATUS=link=none ")
	s := l.state()
	if s.Hostname != "node7" || s.Domain != "rack.example" || !slices.Equal(s.Search, []string{"rack.example"}) ||
		!slices.Equal(s.DNS, []netip.Addr{netip.MustParseAddr("10.0.0.53")}) || !slices.Equal(s.NTP, []string{"10.0.0.123"}) {
		t.Errorf("without a lease the state is %+v", s)
	}
	give.Store(grant("10.0.0.1", "10.0.0.7/24", router4("10.0.0.1")))
	l.told("STATUS=link=eth0 ")
	if s := l.state(); s.Hostname != "node7" || s.Online != true || len(s.DNS)+len(s.NTP) > 0 {
		t.Errorf("with another lease the state is %+v", s)
	}
	if got := l.file("etc/hosts"); !strings.Contains(got, "127.0.1.1 node7 #") {
		t.Errorf("hosts is %q", got)
	}
}

// TestSameServers has servers that DHCPv4, DHCPv6 and a router name, some of them twice.
func TestSameServers(t *testing.T) {
	a, b, c := netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("10.0.0.53"), netip.MustParseAddr("10.0.0.123")
	l := &link{
		lease:   &dhcp4.Lease{DNS: []netip.Addr{b, b}, NTP: []netip.Addr{c, c}},
		lease6:  &dhcp6.Lease{DNS: []netip.Addr{a, a}, NTP: []string{"ntp.example", c.String()}},
		routers: map[netip.Addr]router{a: {Advertisement: ra.Advertisement{DNS: []netip.Addr{a, b}, DNSLifetime: time.Hour}, heard: time.Now()}},
	}
	var s netstate.State
	new(daemon).names(l, &s)
	if !slices.Equal(s.DNS, []netip.Addr{b, a}) || !slices.Equal(s.NTP, []string{c.String(), "ntp.example"}) {
		t.Errorf("the name servers are %v, the time servers %v", s.DNS, s.NTP)
	}
}

// TestTimeServer6 has time servers from DHCPv6 alone.
func TestTimeServer6(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "fe80::1/64")
	l.route6("eth0", advertisement(t, "40", "0708", raPrefix))
	address, name := dhcpv6.NTPSuboptionSrvAddr(net.ParseIP("2001:db8::123")), &dhcpv6.NTPSuboptionSrvFQDN{Labels: rfc1035label.Labels{Labels: []string{"ntp.example"}}}
	l.serve6("eth0", dhcpv6.WithOption(&dhcpv6.OptNTPServer{Suboptions: dhcpv6.Options{&address, name}}))
	l.run(Config{})
	l.told("by=slaac")
	l.until("a time server", func(s netstate.State) bool { return slices.Equal(s.NTP, []string{"2001:db8::123", "ntp.example"}) })
}
