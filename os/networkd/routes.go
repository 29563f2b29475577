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

// routes are those that a link is to have.
func (d *daemon) routes(l *link) []route {
	metric := otherMetric + l.index
	if l.name == d.chosen {
		metric = chosenMetric
	}
	var all []route
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
	if l.lease != nil {
		for _, r := range l.lease.Routes {
			all = append(all, route{l.index, r.Dest, r.Gateway, l.lease.Address.Addr(), metric})
		}
	}
	return all
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// setRoutes makes the routes of all links what they should be. New ones come
// before old ones go, so that there is always a way out.
func (d *daemon) setRoutes(now time.Time) {
	want := map[route]bool{}
	var order []route
	for _, l := range d.links {
		if l.role != configured {
			continue
		}
		routes := d.routes(l)
		if len(routes) > 0 && !d.adopted[l.index] {
			d.adopt(l)
		}
		for _, r := range routes {
			if !want[r] {
				want[r] = true
				order = append(order, r)
			}
		}
	}
	for _, r := range order {
		if d.installed[r] {
			continue
		}
		if err := netlink.RouteReplace(r.netlink()); err != nil {
			if !d.failed[r] {
				d.Log.Error("adding a route", "to", r.dest, "via", r.gateway, "err", err)
			}
			d.failed[r] = true
			d.at(now.Add(retry))
			continue
		}
		d.installed[r] = true
		delete(d.failed, r)
	}
	for r := range d.installed {
		if want[r] {
			continue
		}
		if err := netlink.RouteDel(r.netlink()); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENODEV) {
			d.Log.Error("removing a route", "to", r.dest, "via", r.gateway, "err", err)
		}
		delete(d.installed, r)
	}
}

// adopt takes over the routes that an earlier daemon left on a link.
func (d *daemon) adopt(l *link) {
	d.adopted[l.index] = true
	filter := &netlink.Route{LinkIndex: l.index, Protocol: unix.RTPROT_DHCP}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		d.Log.Error("reading the routes", "link", l.name, "err", err)
	}
	for _, r := range routes {
		gateway, _ := netip.AddrFromSlice(r.Gw)
		src, _ := netip.AddrFromSlice(r.Src)
		dest := netip.PrefixFrom(unspecified(gateway.Unmap()), 0)
		if r.Dst != nil {
			a, _ := netip.AddrFromSlice(r.Dst.IP)
			ones, _ := r.Dst.Mask.Size()
			dest = netip.PrefixFrom(a.Unmap(), ones)
		}
		d.installed[route{l.index, dest, gateway.Unmap(), src.Unmap(), r.Priority}] = true
	}
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
