package networkd

import (
	"errors"
	"net/netip"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// route is a route in the main table.
type route struct {
	link    int
	dest    netip.Prefix
	gateway netip.Addr // invalid for what is reached directly
	src     netip.Addr // invalid for what the kernel thinks best
	metric  int
}

// The metrics: that of the chosen link, and that to which other links add their
// indexes, so that no two links ever have the same.
const (
	chosenMetric = 100
	otherMetric  = 1000
)

// routes are those that a link is to have. Of several with one destination the first counts.
func (d *daemon) routes(l *link) []route {
	metric := otherMetric + l.index
	if l.name == d.chosen {
		metric = chosenMetric
	}
	var all []route
	if l.lease != nil {
		for _, r := range l.lease.Routes {
			all = append(all, route{l.index, r.Dest, r.Gateway, l.lease.Address.Addr(), metric})
		}
	}
	var gateway6 netip.Addr
	for _, a := range d.addresses(l) {
		ip, src := a.Prefix.Addr(), netip.Addr{}
		if ip.Is4() {
			src = ip // the kernel would refuse an IPv6 address that is still tentative
		}
		if a.Source != netstate.SLAAC && a.Prefix.Bits() < ip.BitLen() {
			all = append(all, route{l.index, a.Prefix.Masked(), netip.Addr{}, src, metric})
		}
		if a.Source == netstate.Static && a.Gateway.IsValid() {
			all = append(all, route{l.index, netip.PrefixFrom(unspecified(ip), 0), a.Gateway, src, metric})
		} else if ip.Is6() && a.Gateway.IsValid() {
			gateway6 = a.Gateway
		}
	}
	if gateway6.IsValid() {
		all = append(all, route{l.index, netip.PrefixFrom(netip.IPv6Unspecified(), 0), gateway6, netip.Addr{}, metric})
	}
	return all
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// attempt is when a route was added, and whether the kernel refused it.
type attempt struct {
	when   time.Time
	failed bool
}

// setRoutes makes the routes of all links what they should be. New ones come
// before old ones go, so that there is always a way out. A link that is to have none
// yet keeps those of an earlier daemon.
func (d *daemon) setRoutes(now time.Time) {
	want := d.wantedRoutes()
	for r := range want {
		d.adopted[r.link] = true
		if !d.installed[r] {
			d.addRoute(r, now)
		}
	}
	for r := range d.tried {
		if !want[r] {
			delete(d.tried, r)
		}
	}
	for r := range d.installed {
		if want[r] || !d.adopted[r.link] {
			continue
		}
		if err := netlink.RouteDel(r.netlink()); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENODEV) {
			d.Log.Error("removing a route", "to", r.dest, "via", r.gateway, "err", err)
		}
		delete(d.installed, r)
	}
}

// wantedRoutes are the routes of all links. The kernel takes none of a link that is down, and removes those it had.
func (d *daemon) wantedRoutes() map[route]bool {
	type key struct { // the kernel has one of each
		dest   netip.Prefix
		metric int
	}
	taken, want := map[key]bool{}, map[route]bool{}
	for _, l := range d.links {
		if l.role != configured || !l.up {
			continue
		}
		for _, r := range d.routes(l) {
			if k := (key{r.dest, r.metric}); !taken[k] {
				taken[k], want[r] = true, true
			}
		}
	}
	return want
}

// addRoute adds a route, but not in vain again and again: it may be refused, or somebody may remove it each time.
func (d *daemon) addRoute(r route, now time.Time) {
	last := d.tried[r]
	if next := last.when.Add(retry); now.Before(next) {
		d.at(next)
		return
	}
	err := netlink.RouteReplace(r.netlink())
	d.tried[r] = attempt{now, err != nil}
	if err == nil {
		d.installed[r] = true
		return
	}
	if !last.failed {
		d.Log.Error("adding a route", "to", r.dest, "via", r.gateway, "err", err)
	}
	d.at(now.Add(retry))
}

// installedRoutes are the routes that the kernel has of this daemon or an earlier one.
func installedRoutes() (map[route]bool, error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: unix.RTPROT_DHCP}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, err
	}
	all := map[route]bool{}
	for _, r := range routes {
		gateway, _ := netip.AddrFromSlice(r.Gw)
		src, _ := netip.AddrFromSlice(r.Src)
		all[route{r.LinkIndex, prefix(r.Dst), gateway.Unmap(), src.Unmap(), r.Priority}] = true
	}
	return all, nil
}

// netlink gives the route as the kernel wants it. Gateways of DHCP need not be in
// the network of the address.
func (r route) netlink() *netlink.Route {
	n := &netlink.Route{LinkIndex: r.link, Dst: ipNet(r.dest), Priority: r.metric, Protocol: unix.RTPROT_DHCP, Scope: netlink.SCOPE_LINK}
	if r.src.IsValid() {
		n.Src = r.src.AsSlice()
	}
	if r.gateway.IsValid() {
		n.Gw, n.Scope, n.Flags = r.gateway.AsSlice(), netlink.SCOPE_UNIVERSE, unix.RTNH_F_ONLINK
	}
	return n
}
