package networkd

import (
	"context"
	"errors"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// watch watches something for ever.
func (d *daemon) watch(ctx context.Context, once func(context.Context) error) {
	for ctx.Err() == nil {
		if err := once(ctx); err != nil {
			d.Log.Warn("watching the network starts again", "err", err)
		}
		pause(ctx)
	}
}

// errLost is the end of a subscription.
var errLost = errors.New("messages of the kernel got lost")

// watchLinks has the loop read the links whenever something about a link, an address or
// a route of ours changes. What the kernel tells is not used: reading everything again
// is cheap, and right even if messages got lost. But it alone tells of an address in
// use, which it may take away at once.
func (d *daemon) watchLinks(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	links, addresses, routes := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate), make(chan netlink.RouteUpdate)
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ReceiveBufferSize: d.Backlog, ReceiveBufferForceSize: true}); err != nil {
		return err
	}
	defer drain(links)
	if err := netlink.AddrSubscribeWithOptions(addresses, done, netlink.AddrSubscribeOptions{ReceiveBufferSize: d.Backlog, ReceiveBufferForceSize: true}); err != nil {
		return err
	}
	defer drain(addresses)
	if err := netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{ReceiveBufferSize: d.Backlog, ReceiveBufferForceSize: true}); err != nil {
		return err
	}
	defer drain(routes)
	d.lookSoon()
	for ok := true; ok; {
		var a netlink.AddrUpdate
		var r netlink.RouteUpdate
		select {
		case <-ctx.Done():
			return nil
		case _, ok = <-links:
		case a, ok = <-addresses:
			if a.Flags&unix.IFA_F_DADFAILED != 0 {
				d.post(ctx, func() { d.setInUse(a.LinkIndex, prefix(&a.LinkAddress).Addr()) })
			}
		case r, ok = <-routes:
			if r.Protocol != unix.RTPROT_DHCP {
				continue
			}
		}
		d.lookSoon()
	}
	return errLost
}

// watchRouters tells the loop of routers that the kernel gets no answer of when it asks for their hardware addresses.
func (d *daemon) watchRouters(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	neighbours := make(chan netlink.NeighUpdate)
	if err := netlink.NeighSubscribeWithOptions(neighbours, done, netlink.NeighSubscribeOptions{ReceiveBufferSize: d.Backlog, ReceiveBufferForceSize: true}); err != nil {
		return err
	}
	defer drain(neighbours)
	for {
		select {
		case <-ctx.Done():
			return nil
		case n, ok := <-neighbours:
			if !ok {
				return errLost
			}
			a, _ := netip.AddrFromSlice(n.IP)
			if n.Type == unix.RTM_NEWNEIGH && n.State == netlink.NUD_FAILED && a.Is6() && a.IsLinkLocalUnicast() {
				d.post(ctx, func() { d.setMute(n.LinkIndex, a) })
			}
		}
	}
}

// drain lets a sender end that may be about to send.
func drain[T any](c <-chan T) {
	go func() {
		for range c {
		}
	}()
}

// readLinks reads all links with their addresses and routes, and gives them their roles.
func (d *daemon) readLinks(ctx context.Context) {
	infos, err := d.infos()
	if err != nil {
		d.unread(err)
		return
	}
	routes, err := installedRoutes()
	if err != nil {
		d.unread(err)
		return
	}
	d.installed = routes
	roles := d.plan(infos)
	for index, l := range d.links {
		if !slices.ContainsFunc(infos, func(i info) bool { return i.index == index && i.name == l.name }) {
			d.Log.Warn("link is gone", "link", l.name)
			d.forget(l)
		}
	}
	d.giveMACs(infos, roles, time.Now())
	for _, i := range infos {
		a, planned := roles[i.name]
		l := d.links[i.index]
		if l != nil && (l.role != a.role || l.bond != a.bond || l.vlan != a.vlan || l.mac.String() != i.mac.String()) {
			d.forget(l)
			l = nil
		}
		if l == nil && planned {
			l = &link{info: i, assignment: a, driver: d.driver(i.name), mtu0: i.mtu, owned: map[netip.Prefix]bool{}}
			for _, p := range slices.Concat(i.ours, d.left[i.name]) {
				if slices.Contains(i.has, p) {
					l.owned[p] = true
				}
			}
			delete(d.left, i.name)
			d.links[i.index] = l
			d.begin(ctx, l)
		}
		if l == nil {
			continue
		}
		l.info, l.preference = i, a.preference
		d.compareAddresses(l)
		l.lacking = l.lacks(infos)
		if l.role != ignored && (!l.up || l.lacking) {
			d.bringUp(ctx, l)
		}
		d.setCarrier(l, i.carrier)
	}
}

// unread has the links read once more: at once if they changed meanwhile.
func (d *daemon) unread(err error) {
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		d.Log.Debug("reading the links", "err", err)
		d.lookSoon()
		return
	}
	d.Log.Error("reading the links", "err", err)
	time.AfterFunc(retry, d.lookSoon)
}

// lookSoon has the loop read the links.
func (d *daemon) lookSoon() {
	select {
	case d.look <- struct{}{}:
	default:
	}
}

// forget drops a link that is gone or has another role now.
func (d *daemon) forget(l *link) {
	l.stop()
	d.left[l.name] = slices.Collect(maps.Keys(l.owned))
	delete(d.adopted, l.index)
	delete(d.links, l.index)
}

// infos reads what the kernel says of all links.
func (d *daemon) infos() ([]info, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	var all []info
	for _, l := range links {
		a := l.Attrs()
		i := info{
			name: a.Name, index: a.Index, mac: a.HardwareAddr, permMAC: a.PermHWAddr, kind: l.Type(), mtu: a.MTU, master: a.MasterIndex,
			physical: d.Physical(l), up: a.RawFlags&unix.IFF_UP != 0,
			carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, // not IFF_RUNNING, which the kernel may hold back for a second
		}
		for _, n := range addresses {
			if n.LinkIndex == a.Index {
				i.addAddress(n)
			}
		}
		slices.SortFunc(i.addrs6, netip.Prefix.Compare)
		all = append(all, i)
	}
	return all, nil
}

func (i *info) addAddress(n netlink.Addr) {
	p := prefix(n.IPNet)
	ip := p.Addr()
	i.has = append(i.has, p)
	switch {
	case ip.Is4():
		if n.Flags&unix.IFA_F_NOPREFIXROUTE != 0 && n.ValidLft != math.MaxUint32 {
			i.ours = append(i.ours, p)
		}
	case n.Flags&unix.IFA_F_DADFAILED != 0:
		i.inUse = append(i.inUse, ip)
	case n.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DEPRECATED) != 0:
	case ip.IsLinkLocalUnicast():
		i.local6 = true
	case ip.IsGlobalUnicast():
		i.addrs6 = append(i.addrs6, p)
	}
}

// speed is what the link has negotiated, in Mbit/s, 0 if that is not known.
func (d *daemon) speed(name string) int {
	text, err := os.ReadFile(filepath.Join(d.Root, "sys/class/net", name, "speed"))
	if err != nil {
		return 0
	}
	speed, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return max(speed, 0) // -1 stands for unknown
}

// driver is the name of a link's driver, "" for a link without hardware.
func (d *daemon) driver(name string) string {
	path, err := os.Readlink(filepath.Join(d.Root, "sys/class/net", name, "device/driver"))
	if err != nil {
		return ""
	}
	return filepath.Base(path)
}
