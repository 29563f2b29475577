package networkd

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/stage"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addresses are those a link has or is to have, the most important first.
func (d *daemon) addresses(l *link) []netstate.Address {
	var all []netstate.Address
	gateway6 := l.gateway6(time.Now())
	if s := d.IPAM; s != nil {
		all = append(all, netstate.Address{Prefix: s.Address, Gateway: s.Gateway, Source: netstate.Static})
	}
	if l.lease != nil {
		all = append(all, netstate.Address{
			Prefix: l.lease.Address, Gateway: l.lease.Gateway(), Source: netstate.DHCP4, Server: l.lease.Server, Expires: l.expires,
		})
	}
	if l.lease6 != nil && l.lease6.Address.IsValid() {
		all = append(all, netstate.Address{
			Prefix: netip.PrefixFrom(l.lease6.Address, 128), Gateway: gateway6, Source: netstate.DHCP6, Expires: l.expires6,
		})
	}
	for _, p := range l.addrs6 {
		if !slices.ContainsFunc(all, func(a netstate.Address) bool { return a.Prefix.Addr() == p.Addr() }) {
			all = append(all, netstate.Address{Prefix: p, Gateway: gateway6, Source: netstate.SLAAC})
		}
	}
	return all
}

// setAddresses gives a link the addresses that are for us to give. First it takes
// away those it gave before and all other IPv4 addresses: the kernel may remove, with
// one, others of the same network that came after it.
func (d *daemon) setAddresses(l *link, now time.Time) {
	var want []netstate.Address
	for _, a := range d.addresses(l) {
		if a.Source != netstate.SLAAC {
			want = append(want, a)
		}
	}
	if slices.Equal(want, l.given) {
		return
	}
	target := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: l.index, Name: l.name}}
	var errs []error
	has, err := netlink.AddrList(target, netlink.FAMILY_V4)
	errs = append(errs, err)
	for _, a := range l.given {
		if a.Prefix.Addr().Is6() && !slices.ContainsFunc(want, func(w netstate.Address) bool { return w.Prefix == a.Prefix }) {
			has = append(has, netlink.Addr{IPNet: ipNet(a.Prefix)})
		}
	}
	for _, a := range has {
		if !slices.ContainsFunc(want, func(w netstate.Address) bool { return equalPrefix(a.IPNet, w.Prefix) }) {
			errs = append(errs, ignore(netlink.AddrDel(target, &a), unix.EADDRNOTAVAIL))
		}
	}
	for _, a := range want {
		errs = append(errs, netlink.AddrReplace(target, netlinkAddress(a)))
	}
	if !d.fails("setting the addresses of "+l.name, errors.Join(errs...), now) {
		l.given = want
	}
}

// ignore forgets about an error.
func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

// netlinkAddress leaves the route to the network to us, who know its metric.
func netlinkAddress(a netstate.Address) *netlink.Addr {
	n := &netlink.Addr{IPNet: ipNet(a.Prefix), Flags: unix.IFA_F_NOPREFIXROUTE}
	if a.Expires != 0 {
		left := int(math.Ceil((a.Expires - stage.Now()).Seconds()))
		n.ValidLft, n.PreferedLft = max(left, 1), max(left, 1)
	}
	return n
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func equalPrefix(n *net.IPNet, p netip.Prefix) bool {
	a, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones) == p
}
