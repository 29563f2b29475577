package networkd

import (
	"context"
	"errors"
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

// watch has the loop read the links whenever something about a link or an address
// changes. What the kernel tells is not used: reading everything again is cheap,
// and right even if messages got lost.
func (d *daemon) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.watchOnce(ctx); err != nil {
			d.Log.Warn("watching the links starts again", "err", err)
		}
		pause(ctx)
	}
}

func (d *daemon) watchOnce(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	links, addresses := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate)
	if err := netlink.LinkSubscribe(links, done); err != nil {
		return err
	}
	defer drain(links)
	if err := netlink.AddrSubscribe(addresses, done); err != nil {
		return err
	}
	defer drain(addresses)
	for ok := true; ok; {
		d.lookSoon()
		select {
		case <-ctx.Done():
			return nil
		case _, ok = <-links:
		case _, ok = <-addresses:
		}
	}
	return errors.New("messages of the kernel got lost")
}

// drain lets a sender end that may be about to send.
func drain[T any](c <-chan T) {
	go func() {
		for range c {
		}
	}()
}

// readLinks reads all links and gives them their roles.
func (d *daemon) readLinks(ctx context.Context) {
	infos, err := d.infos()
	if err != nil {
		d.Log.Error("reading the links", "err", err)
		time.AfterFunc(retry, d.lookSoon)
		return
	}
	roles := d.plan(infos)
	for index, l := range d.links {
		if !slices.ContainsFunc(infos, func(i info) bool { return i.index == index && i.name == l.name }) {
			d.Log.Warn("link is gone", "link", l.name)
			d.forget(l)
		}
	}
	d.giveMACs(infos, roles)
	for _, i := range infos {
		a, planned := roles[i.name]
		l := d.links[i.index]
		if l != nil && (l.role != a.role || l.bond != a.bond || l.vlan != a.vlan || l.mac.String() != i.mac.String()) {
			d.forget(l)
			l = nil
		}
		if l == nil && planned {
			l = &link{info: i, assignment: a, driver: d.driver(i.name), mtu0: i.mtu}
			d.links[i.index] = l
			d.begin(ctx, l)
		}
		if l == nil {
			continue
		}
		l.info, l.preference = i, a.preference
		l.lacking = l.lacks(infos)
		if l.role != ignored && (!l.up || l.lacking) {
			d.forgetRoutes(l)
			d.bringUp(ctx, l)
		}
		d.setCarrier(l, i.carrier)
	}
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
	d.forgetRoutes(l)
	delete(d.adopted, l.index)
	delete(d.links, l.index)
}

// forgetRoutes is for routes and addresses that the kernel may have dropped.
func (d *daemon) forgetRoutes(l *link) {
	l.given = nil
	for r := range d.installed {
		if r.link == l.index {
			delete(d.installed, r)
		}
	}
}

// infos reads what the kernel says of all links.
func (d *daemon) infos() ([]info, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V6)
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
			if n.LinkIndex != a.Index || n.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) != 0 {
				continue
			}
			ip, _ := netip.AddrFromSlice(n.IP)
			if ip.IsLinkLocalUnicast() {
				i.local6 = true
			} else if ip.IsGlobalUnicast() {
				ones, _ := n.Mask.Size()
				i.addrs6 = append(i.addrs6, netip.PrefixFrom(ip, ones))
			}
		}
		slices.SortFunc(i.addrs6, netip.Prefix.Compare)
		all = append(all, i)
	}
	return all, nil
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
