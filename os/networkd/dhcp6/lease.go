package dhcp6

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/ember-os/ember/os/networkd/dnsname"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// Lease is what a server granted. Names in it are clean (dnsname), addresses are
// such as a host can have or reach.
type Lease struct {
	Address netip.Addr // invalid if only the rest was asked for
	DNS     []netip.Addr
	Search  []string
	NTP     []string // addresses and names

	Duration time.Duration // 0 for ever
	T1, T2   time.Duration // when to renew, when to ask any server
}

// The limits of what is believed.
const (
	leastDuration = 5 * time.Second // so that renewing is no flood
	forever       = 0xffffffff * time.Second
	refresh       = 24 * time.Hour   // RFC 8415, section 7.6
	leastRefresh  = 10 * time.Minute // likewise
)

// parseLease reads a reply to a request for an address.
func parseLease(m *dhcpv6.Message) (*Lease, error) {
	if s := m.Options.Status(); s != nil && s.StatusCode != iana.StatusSuccess {
		return nil, fmt.Errorf("the server says %v", s.StatusCode)
	}
	ia := m.Options.OneIANA()
	if ia == nil {
		return nil, errors.New("no address association")
	}
	if s := ia.Options.Status(); s != nil && s.StatusCode != iana.StatusSuccess {
		return nil, fmt.Errorf("the server says %v", s.StatusCode)
	}
	l := parseRest(m)
	for _, a := range ia.Options.Addresses() {
		ip := addr(a.IPv6Addr)
		if !isHost(ip) || a.ValidLifetime < leastDuration {
			continue
		}
		l.Address = ip
		l.setTimes(ia.T1, ia.T2, a.PreferredLifetime, a.ValidLifetime)
		return l, nil
	}
	return nil, errors.New("no address")
}

// setTimes uses the shares that section 21.4 recommends to servers for times that
// are left to the client or are not in their order.
func (l *Lease) setTimes(t1, t2, preferred, valid time.Duration) {
	if valid >= forever {
		return
	}
	l.Duration = valid
	if preferred <= 0 || preferred > valid {
		preferred = valid
	}
	if t2 <= 0 || t2 >= valid {
		t2 = preferred / 10 * 8
	}
	if t1 <= 0 || t1 >= t2 {
		t1 = min(preferred/2, t2)
	}
	l.T1, l.T2 = t1, t2
}

// parseRest reads what needs no address.
func parseRest(m *dhcpv6.Message) *Lease {
	l := new(Lease)
	for _, ip := range m.Options.DNS() {
		if a := addr(ip); isHost(a) || a.IsLinkLocalUnicast() {
			l.DNS = append(l.DNS, a)
		}
	}
	if labels := m.Options.DomainSearchList(); labels != nil {
		l.Search = dnsname.CleanAll(labels.Labels)
	}
	for _, o := range m.Options.Get(dhcpv6.OptionNTPServer) {
		if servers, ok := o.(*dhcpv6.OptNTPServer); ok {
			l.addNTP(servers)
		}
	}
	return l
}

func (l *Lease) addNTP(servers *dhcpv6.OptNTPServer) {
	for _, s := range servers.Suboptions {
		switch s := s.(type) {
		case *dhcpv6.NTPSuboptionSrvAddr:
			if a := addr(net.IP(*s)); isHost(a) && !slices.Contains(l.NTP, a.String()) {
				l.NTP = append(l.NTP, a.String())
			}
		case *dhcpv6.NTPSuboptionSrvFQDN:
			l.NTP = append(l.NTP, dnsname.CleanAll(s.Labels.Labels)...)
		}
	}
}

// isHost tells whether a host elsewhere can have the address.
func isHost(a netip.Addr) bool { return a.Is6() && !a.Is4In6() && a.IsGlobalUnicast() }

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}
