package networkd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/networkd/backoff"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// sysctls6 are the settings below net/ipv6/conf of a link that is configured: the
// kernel makes addresses from the prefixes of routers, even if it forwards packets,
// but leaves the default route to us. The addresses are made of the MAC, so they are
// the same after each boot.
var sysctls6 = [][2]string{
	{"disable_ipv6", "0"}, {"accept_ra", "2"}, {"accept_ra_defrtr", "0"}, {"accept_ra_pinfo", "1"}, {"accept_ra_mtu", "1"},
	{"autoconf", "1"}, {"addr_gen_mode", "0"}, {"use_tempaddr", "0"}, {linkdown, "0"},
}

// sysctls4 are those below net/ipv4/conf. An address that goes takes no others with it.
// With two links in one network each answers for its own address only.
var sysctls4 = [][2]string{{linkdown, "0"}, {"promote_secondaries", "1"}, {"arp_ignore", "1"}, {"arp_announce", "2"}}

// linkdown says whether the kernel passes over the routes of a link without a carrier.
const linkdown = "ignore_routes_with_linkdown"

// begin does what a link needs once for its role.
func (d *daemon) begin(ctx context.Context, l *link) {
	switch l.role {
	case parent:
		d.sysctl6(l.name, "accept_ra", "0")
	case configured:
		for _, s := range sysctls6 {
			d.sysctl6(l.name, s[0], s[1])
		}
		for _, s := range sysctls4 {
			d.sysctl4(l.name, s[0], s[1])
		}
		d.start(ctx, l)
	}
}

// lacks tells whether what a link is for is not there, or not any more: its place in a
// bond, or its VLAN.
func (l *link) lacks(links []info) bool {
	switch l.role {
	case member:
		return !slices.ContainsFunc(links, func(i info) bool { return i.name == l.bond && i.index == l.master })
	case parent:
		return !slices.ContainsFunc(links, func(i info) bool { return i.isVLAN(l.name, l.vlan) })
	}
	return false
}

// longestRetry is the longest wait before a link is brought up again. Some drivers
// fail for ever, and have the kernel say so each time: they lack a firmware.
const longestRetry = 10 * time.Second

// bringUp has a link brought up, which takes some drivers seconds. A failure is told
// once; the link is rising until the next attempt, so that it has only one at a time.
func (d *daemon) bringUp(ctx context.Context, l *link) {
	if l.rising {
		return
	}
	l.rising = true
	i, a, lacking := l.info, l.assignment, l.lacking
	go func() {
		var err error
		switch {
		case lacking && a.role == member: // which the bond brings up
			err = d.enslave(i, a.bond)
		case lacking:
			err = errors.Join(addVLAN(i, a.vlan), setUp(i))
		default:
			err = setUp(i)
		}
		d.post(ctx, func() { d.risen(ctx, l, err) })
	}()
}

func setUp(i info) error {
	return netlink.LinkSetUp(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: i.index}})
}

func addVLAN(i info, id int) error {
	name := vlanName(i.name, id)
	if err := netlink.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: i.index}, VlanId: id}); err != nil {
		return fmt.Errorf("making %s: %w", name, err)
	}
	return nil
}

func (d *daemon) risen(ctx context.Context, l *link, err error) {
	if err == nil {
		l.rising, l.failures = false, 0
		d.lookSoon()
		return
	}
	level := slog.LevelDebug
	if l.failures == 0 {
		level = slog.LevelError
	}
	d.Log.Log(ctx, level, "bringing up a link", "link", l.name, "err", err)
	time.AfterFunc(backoff.Wait(retry, longestRetry, l.failures), func() {
		d.post(ctx, func() {
			l.rising = false
			d.lookSoon()
		})
	})
	l.failures++
}

// leastMTU6 is the least MTU with which the kernel has IPv6 on a link. With less it removes all that belongs to it.
const leastMTU6 = 1280

// has6 tells whether a link has IPv6 that is of use, or may yet turn out to have: a first and a second question for
// routers are unanswered only if there is a third.
func (d *daemon) has6(l *link) bool {
	return d.routers != nil && l.mtu >= leastMTU6 && (l.asked < 3 || len(l.routers) > 0 || len(l.addrs6) > 0)
}

// setMTU gives a link the MTU of its lease, but one that leaves it its IPv6, else the one it came with. The link that
// carries a VLAN gets at least that of the VLAN, which may not have a larger one.
func (d *daemon) setMTU(l *link) {
	want := l.mtu0
	if l.lease != nil && l.lease.MTU != 0 {
		want = l.lease.MTU
		if d.has6(l) {
			want = max(want, leastMTU6)
		}
	}
	if l.lease == nil && d.IPAM == nil || want == l.mtu || want == l.mtuTried {
		return
	}
	l.mtuTried = want
	for _, p := range d.links {
		if p.role == parent && vlanName(p.name, p.vlan) == l.name && p.mtu < want {
			d.changeMTU(p, want)
		}
	}
	d.changeMTU(l, want)
}

func (d *daemon) changeMTU(l *link, mtu int) {
	if err := netlink.LinkSetMTU(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: l.index}}, mtu); err != nil {
		d.Log.Error("setting the MTU", "link", l.name, "mtu", mtu, "err", err)
	}
}

func (d *daemon) sysctl6(link, name, value string) {
	path := filepath.Join(d.Root, "proc/sys/net/ipv6/conf", link, name)
	if err := os.WriteFile(path, []byte(value), 0); err != nil && d.routers != nil {
		d.Log.Warn("setting up IPv6", "err", err)
	}
}

func (d *daemon) sysctl4(link, name, value string) {
	path := filepath.Join(d.Root, "proc/sys/net/ipv4/conf", link, name)
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		d.Log.Warn("setting up IPv4", "err", err)
	}
}

// setDead has the routes of a link that has lost its carrier, and not for a moment only,
// hide those of the chosen one. Without one they are better than none.
func (d *daemon) setDead(l *link, now time.Time) {
	dead := !d.held(l, now) && d.chosen != "" && d.chosen != l.name
	if dead == l.dead {
		return
	}
	l.dead = dead
	value := "0"
	if dead {
		value = "1"
	}
	d.sysctl4(l.name, linkdown, value)
	d.sysctl6(l.name, linkdown, value)
}

// makeBonds makes the bonds, whose members follow as they appear. Without a bond
// its members are links like others.
func (d *daemon) makeBonds() {
	d.Bonds = slices.DeleteFunc(slices.Clone(d.Bonds), func(b cmdline.Bond) bool {
		bond, err := newBond(b)
		if err == nil {
			err = makeBond(bond)
		}
		if err != nil {
			d.Log.Error("making a bond", "bond", b.Name, "err", err)
		}
		return err != nil
	})
}

// makeBond keeps the bond of an earlier daemon, which may have members, but not
// the one that the kernel makes by itself, which has another mode.
func makeBond(bond *netlink.Bond) error {
	err := netlink.LinkAdd(bond)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	old, err := netlink.LinkByName(bond.Name)
	if err != nil {
		return err
	}
	if o, ok := old.(*netlink.Bond); ok && o.Mode == bond.Mode {
		return nil
	}
	if err := netlink.LinkDel(old); err != nil {
		return fmt.Errorf("removing the link that has its name: %w", err)
	}
	return netlink.LinkAdd(bond)
}

// giveMACs gives a bond the address that DHCP servers know before its members join, which they do side by side: that of
// hw_addr, also when that member appears later, else that of the first member. A bond that goes by the addresses of its
// members is left alone: with one of its own it would not take over theirs.
func (d *daemon) giveMACs(links []info, roles map[string]assignment, now time.Time) {
	for _, b := range d.Bonds {
		bond := slices.IndexFunc(links, func(i info) bool { return i.name == b.Name })
		if f := b.Options["fail_over_mac"]; bond < 0 || f == "active" || f == "follow" {
			continue
		}
		var chosen *info
		joined, late := false, false
		for n := range links {
			i := &links[n]
			if roles[i.name].bond != b.Name {
				continue
			}
			joined = joined || i.master == links[bond].index
			if isNamed := bytes.Equal(i.hardware(), d.HWAddr); isNamed || chosen == nil {
				chosen, late = i, isNamed && d.links[i.index] == nil
			}
		}
		if chosen == nil || joined && !late {
			continue
		}
		mac := chosen.hardware()
		var err error
		if !bytes.Equal(links[bond].mac, mac) {
			err = netlink.LinkSetHardwareAddr(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: links[bond].index}}, mac)
		}
		if !d.fails("giving "+b.Name+" the address of "+chosen.name, err, now) {
			links[bond].mac = mac
		}
	}
}

// enslave makes a link a member of its bond, for which it must be down.
func (d *daemon) enslave(l info, name string) error {
	bond, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("looking for the bond %s: %w", name, err)
	}
	self := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: l.index}}
	if err := netlink.LinkSetDown(self); err != nil {
		return err
	}
	if err := netlink.LinkSetMasterByIndex(self, bond.Attrs().Index); err != nil {
		return fmt.Errorf("making it a member of %s: %w", name, err)
	}
	i := slices.IndexFunc(d.Bonds, func(b cmdline.Bond) bool { return b.Name == name })
	if primary := d.Bonds[i].Options["primary"]; primary == "" || !l.isCalled(primary) {
		return nil
	}
	change := netlink.NewLinkBond(netlink.LinkAttrs{Name: name, Index: bond.Attrs().Index})
	change.Primary = l.index
	if err := netlink.LinkModify(change); err != nil {
		return fmt.Errorf("making it the primary of %s: %w", name, err)
	}
	return nil
}

// newBond is the bond with its options, those of the kernel's documentation
// (networking/bonding). Without miimon or arp_interval a bond does not see that a
// member loses its carrier, so miimon is 100 (ms) unless it is given.
func newBond(b cmdline.Bond) (*netlink.Bond, error) {
	bond := netlink.NewLinkBond(netlink.LinkAttrs{Name: b.Name, MTU: b.MTU})
	bond.Mode = netlink.StringToBondMode(b.Mode)
	if bond.Mode == netlink.BOND_MODE_UNKNOWN {
		return nil, fmt.Errorf("there is no mode %q", b.Mode)
	}
	bond.Miimon = 100
	for name, value := range b.Options {
		if err := setBondOption(bond, name, value); err != nil {
			return nil, fmt.Errorf("option %s: %w", name, err)
		}
	}
	return bond, nil
}

func setBondOption(bond *netlink.Bond, name, value string) error {
	numbers := map[string]*int{
		"miimon": &bond.Miimon, "updelay": &bond.UpDelay, "downdelay": &bond.DownDelay, "min_links": &bond.MinLinks,
	}
	if field := numbers[name]; field != nil {
		n, err := strconv.ParseUint(value, 10, 31)
		*field = int(n)
		return err
	}
	unknown := false
	switch name {
	case "primary": // is set when that member is there
	case "lacp_rate":
		bond.LacpRate = netlink.StringToBondLacpRate(value)
		unknown = bond.LacpRate == netlink.BOND_LACP_RATE_UNKNOWN
	case "xmit_hash_policy":
		bond.XmitHashPolicy = netlink.StringToBondXmitHashPolicy(value)
		unknown = bond.XmitHashPolicy == netlink.BOND_XMIT_HASH_POLICY_UNKNOWN
	case "fail_over_mac":
		v, known := netlink.StringToBondFailOverMacMap[value]
		bond.FailOverMac, unknown = v, !known
	case "primary_reselect":
		v, known := netlink.StringToBondPrimaryReselectMap[value]
		bond.PrimaryReselect, unknown = v, !known
	case "ad_select":
		v, known := netlink.StringToBondAdSelectMap[value]
		bond.AdSelect, unknown = v, !known
	default:
		return errors.New("there is no such option")
	}
	if unknown {
		return fmt.Errorf("%q is not one of its values", value)
	}
	return nil
}
