package dhcp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/ember-os/ember/os/networkd/dnsname"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Lease is what a server granted. Names in it are clean (dnsname), addresses are
// such as a host can have or reach.
type Lease struct {
	Address  netip.Prefix // the address with the length of its network's prefix
	Server   netip.Addr
	Routes   []Route
	DNS      []netip.Addr
	NTP      []netip.Addr
	Hostname string
	Domain   string
	Search   []string
	MTU      int // 0 if the server does not say

	Duration time.Duration // 0 for ever
	T1, T2   time.Duration // when to renew, when to ask any server
}

// Route is a route that comes with a lease.
type Route struct {
	Dest    netip.Prefix
	Gateway netip.Addr // invalid for what is reached directly
}

// The limits of what is believed.
const (
	unsaidDuration = time.Hour       // of a lease that has none, against RFC 2131, section 4.3.1
	leastDuration  = 5 * time.Second // of a lease, so that renewing it is no flood
	forever        = 0xffffffff * time.Second
	leastMTU       = 576 // RFC 791: what every host can receive
	mostRoutes     = 64
)

// Gateway is the gateway of the default route, invalid if there is none.
func (l *Lease) Gateway() netip.Addr {
	for _, r := range l.Routes {
		if r.Dest.Bits() == 0 {
			return r.Gateway
		}
	}
	return netip.Addr{}
}

// parseLease reads the lease in an offer or an acknowledgement. An option that
// makes no sense counts as not there, unless there is no lease without it.
func parseLease(m *dhcpv4.DHCPv4) (*Lease, error) {
	address, server := addr(m.YourIPAddr), addr(m.ServerIdentifier())
	if !isHost(address) {
		return nil, fmt.Errorf("the address %v is none for a host", address)
	}
	if !isHost(server) {
		return nil, errors.New("no server identifier")
	}
	l := &Lease{
		Server:   server,
		DNS:      hosts(m.DNS()),
		NTP:      hosts(m.NTPServers()),
		Hostname: dnsname.Host(m.HostName()),
		Domain:   dnsname.Clean(m.DomainName()),
	}
	mask := m.SubnetMask()
	if ones, bits := mask.Size(); bits != 32 || ones == 0 {
		mask = net.IP(address.AsSlice()).DefaultMask() // never nil for a host's address
	}
	ones, _ := mask.Size()
	l.Address = netip.PrefixFrom(address, ones)
	if labels := m.DomainSearch(); labels != nil {
		l.Search = dnsname.CleanAll(labels.Labels)
	}
	if mtu := m.Options.Get(dhcpv4.OptionInterfaceMTU); len(mtu) == 2 {
		if n := int(binary.BigEndian.Uint16(mtu)); n >= leastMTU {
			l.MTU = n
		}
	}
	l.setRoutes(m)
	l.setTimes(m)
	return l, nil
}

// setRoutes follows RFC 3442: with classless routes, the routers do not count.
func (l *Lease) setRoutes(m *dhcpv4.DHCPv4) {
	classless := m.ClasslessStaticRoute()
	for _, r := range classless[:min(len(classless), mostRoutes)] {
		ones, _ := r.Dest.Mask.Size()
		dest, gateway := netip.PrefixFrom(addr(r.Dest.IP), ones).Masked(), addr(r.Router)
		if gateway.IsUnspecified() {
			gateway = netip.Addr{}
		} else if !isHost(gateway) {
			continue
		}
		if !hasHosts(dest) {
			continue
		}
		l.Routes = append(l.Routes, Route{dest, gateway})
	}
	if len(classless) > 0 {
		return
	}
	if routers := hosts(m.Router()); len(routers) > 0 {
		l.Routes = []Route{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), routers[0]}}
	}
}

// setTimes uses the defaults of RFC 2131, section 4.4.5, for times that are not in
// their order.
func (l *Lease) setTimes(m *dhcpv4.DHCPv4) {
	l.Duration = max(m.IPAddressLeaseTime(unsaidDuration), leastDuration)
	if l.Duration >= forever {
		l.Duration = 0
		return
	}
	l.T1, l.T2 = m.IPAddressRenewalTime(0), m.IPAddressRebindingTime(0)
	if l.T2 <= 0 || l.T2 >= l.Duration {
		l.T2 = l.Duration / 8 * 7
	}
	if l.T1 <= 0 || l.T1 >= l.T2 {
		l.T1 = min(l.Duration/2, l.T2)
	}
}

// isHost tells whether a host elsewhere can have the address.
func isHost(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsLoopback() && a.As4()[0] != 0 && a.As4()[0] < 224
}

// hasHosts tells whether hosts elsewhere can be in a network. Those from 0.0.0.0/0 to
// 0.0.0.0/7 are larger than the one whose addresses no host can have.
func hasHosts(n netip.Prefix) bool {
	return isHost(n.Addr()) || n.Addr() == netip.IPv4Unspecified() && n.Bits() < 8
}

func hosts(ips []net.IP) []netip.Addr {
	var list []netip.Addr
	for _, ip := range ips {
		if a := addr(ip); isHost(a) {
			list = append(list, a)
		}
	}
	return list
}

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// reply reads a message of a server to the client with that address and
// transaction. One that is larger than the client asks for is none: its search
// domains could be packed so that unpacking them takes hours.
func reply(b []byte, mac net.HardwareAddr, xid dhcpv4.TransactionID) (*dhcpv4.DHCPv4, bool) {
	if len(b) > largest {
		return nil, false
	}
	m, err := dhcpv4.FromBytes(b)
	ok := err == nil && m.OpCode == dhcpv4.OpcodeBootReply && m.TransactionID == xid && bytes.Equal(m.ClientHWAddr, mac)
	return m, ok
}
