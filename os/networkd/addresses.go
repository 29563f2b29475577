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
		if s.Gateway.Is6() {
			gateway6 = s.Gateway
		}
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

// setAddresses gives a link the addresses that are for us to give. Then it takes away
// those that it or an earlier daemon gave before, and no others. What was tried a moment ago waits: it may be refused, or
// somebody may take it away each time.
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
	if next := l.giving.Add(retry); slices.Equal(want, l.wanted) && now.Before(next) {
		d.at(next)
		return
	}
	l.wanted, l.giving = slices.Clone(want), now
	target := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: l.index, Name: l.name}}
	var errs []error
	for _, a := range want {
		l.owned[a.Prefix] = true
		errs = append(errs, netlink.AddrReplace(target, netlinkAddress(a)))
	}
	for p := range l.owned {
		if slices.ContainsFunc(want, func(w netstate.Address) bool { return w.Prefix == p }) {
			continue
		}
		err := ignore(netlink.AddrDel(target, &netlink.Addr{IPNet: ipNet(p)}), unix.EADDRNOTAVAIL)
		if err == nil {
			delete(l.owned, p)
		}
		errs = append(errs, err)
	}
	if !d.fails("setting the addresses of "+l.name, errors.Join(errs...), now) {
		l.given = want
	}
}

// compareAddresses has those given once more that the kernel does not have any more. Those that another machine has
// wait until they are renewed.
func (d *daemon) compareAddresses(l *link) {
	l.given = slices.DeleteFunc(l.given, func(a netstate.Address) bool {
		return !l.hasAddress(a.Prefix) && !l.inUse[a.Prefix.Addr()]
	})
	for _, a := range l.addrs6 {
		delete(l.inUse, a.Addr())
	}
	for _, a := range l.info.inUse {
		d.setInUse(l.index, a)
	}
}

// hasAddress tells whether the link has an address of ours. Of IPv6 the kernel has each once, perhaps with the prefix
// of a router.
func (l *link) hasAddress(p netip.Prefix) bool {
	return slices.ContainsFunc(l.has, func(h netip.Prefix) bool { return h == p || p.Addr().Is6() && h.Addr() == p.Addr() })
}

// mostInUse is how many addresses in use of a link are known: whoever is on the link can advertise prefixes without end
// and claim what the kernel makes of them.
const mostInUse = 16

// setInUse notes that another machine has an IPv6 address of a link.
func (d *daemon) setInUse(index int, a netip.Addr) {
	l := d.links[index]
	if l == nil || l.role != configured || l.inUse[a] || len(l.inUse) >= mostInUse {
		return
	}
	d.Log.Warn("another machine has the address", "link", l.name, "address", a)
	if l.inUse == nil {
		l.inUse = map[netip.Addr]bool{}
	}
	l.inUse[a] = true
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

func prefix(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones)
}
