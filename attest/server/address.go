package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// address is the client's: that of the connection, or, behind proxies that are trusted, the last one in
// X-Forwarded-For that is not such a proxy. It is not valid where none is known.
func address(r *http.Request, proxies []netip.Prefix) netip.Addr {
	connection, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a := connection.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !trusted(a, proxies) {
			return a
		}
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return a
		}
		a = next.Unmap().WithZone("")
	}
	return a
}

func trusted(a netip.Addr, proxies []netip.Prefix) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// fromAddress takes a token for a request from an address, as take does. A proxy's own address is that of all
// machines behind it, where it forwards none, and has no limit.
func (s *Server) fromAddress(a netip.Addr, now time.Time) (wait time.Duration, first bool) {
	if trusted(a, s.Proxies) {
		return 0, false
	}
	return s.limiters.addresses.take(site(a), now)
}

// site is what is counted as one: an IPv4 address, or the /64 that an IPv6 host can choose from.
func site(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil { // no address: all such are one
		return netip.Prefix{}
	}
	return p
}
