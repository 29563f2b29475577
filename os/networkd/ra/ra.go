// Package ra reads IPv6 router advertisements (RFC 4861, section 4.2, with the
// options of RFC 8106). The kernel hears them too: it makes the addresses and obeys
// the MTU; the default route, the name servers and the call for DHCPv6 are left to
// the reader of this package. Each advertisement is taken to be all that its router
// has to say.
package ra

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ember-os/ember/os/networkd/dnsname"
)

// The message and its options.
const (
	advertisement = 134
	solicitation  = 133
	header        = 16
	flagManaged   = 0x80
	flagOther     = 0x40
	optionRDNSS   = 25
	optionDNSSL   = 31
	forever       = 0xffffffff

	mostServers = 16 // of one advertisement; the rest is left out
)

// Advertisement is what a router says of itself and its network.
type Advertisement struct {
	Router     netip.Addr    // link-local, without a zone
	Lifetime   time.Duration // as a default router; 0 if it is none
	Preference int           // as a default router: -1, 0 or 1 (RFC 4191)
	Managed    bool          // DHCPv6 gives addresses
	Other      bool          // DHCPv6 gives the rest

	DNS         []netip.Addr
	Search      []string
	DNSLifetime time.Duration // of DNS and Search, the shorter one; 0 if there are none
}

// Parse reads an ICMPv6 message that came from an address.
func Parse(b []byte, from netip.Addr) (Advertisement, error) {
	if len(b) < header || b[0] != advertisement || b[1] != 0 {
		return Advertisement{}, errors.New("no router advertisement")
	}
	if !from.Is6() || !from.IsLinkLocalUnicast() {
		return Advertisement{}, fmt.Errorf("a router advertisement from %v, which is not link-local", from)
	}
	a := Advertisement{
		Router:      from.WithZone(""),
		Lifetime:    time.Duration(binary.BigEndian.Uint16(b[6:])) * time.Second,
		Preference:  preferences[b[5]>>3&3],
		Managed:     b[5]&flagManaged != 0,
		Other:       b[5]&flagOther != 0,
		DNSLifetime: forever * time.Second,
	}
	for options := b[header:]; len(options) > 0; {
		if len(options) < 8 || options[1] == 0 || len(options) < int(options[1])*8 {
			return Advertisement{}, errors.New("a router advertisement with a broken option")
		}
		length := int(options[1]) * 8
		a.take(options[:length])
		options = options[length:]
	}
	if a.DNS == nil && a.Search == nil {
		a.DNSLifetime = 0
	}
	return a, nil
}

// preferences are the meanings of two bits; the last is reserved and means 0.
var preferences = [...]int{0, 1, 0, -1}

// take reads one option. One with lifetime 0 takes back what no other
// advertisement of the router counts for anyway.
func (a *Advertisement) take(option []byte) {
	if option[0] != optionRDNSS && option[0] != optionDNSSL {
		return
	}
	lifetime := time.Duration(binary.BigEndian.Uint32(option[4:])) * time.Second
	if lifetime == 0 {
		return
	}
	a.DNSLifetime = min(a.DNSLifetime, lifetime)
	switch value := option[8:]; option[0] {
	case optionRDNSS:
		for ; len(value) >= 16 && len(a.DNS) < mostServers; value = value[16:] {
			if s := netip.AddrFrom16([16]byte(value)); !s.IsUnspecified() && !s.IsMulticast() && !s.IsLoopback() && !s.Is4In6() {
				a.DNS = append(a.DNS, s)
			}
		}
	case optionDNSSL:
		if names, err := dnsname.Unpack(value); err == nil {
			a.Search = dnsname.CleanAll(append(a.Search, names...))
		}
	}
}
