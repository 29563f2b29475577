package networkd

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/networkd/choose"
)

// info is what the kernel says of a link.
type info struct {
	name     string
	index    int
	mac      net.HardwareAddr
	permMAC  net.HardwareAddr // what the hardware came with; nil if it is not known
	kind     string           // "bond", "vlan", ...; "device" for hardware and some others
	physical bool
	up       bool // someone wants it up
	carrier  bool
	mtu      int
	master   int            // index; 0 for none
	has      []netip.Prefix // all its addresses
	ours     []netip.Prefix // those of IPv4 that end and have no route of the kernel, as those of leases
	addrs6   []netip.Prefix // usable IPv6 addresses beyond the link
	local6   bool           // it has a usable link-local address
	inUse    []netip.Addr   // IPv6 addresses that another machine has
}

func (i *info) hardware() net.HardwareAddr {
	if len(i.permMAC) > 0 {
		return i.permMAC
	}
	return i.mac
}

// isCalled tells whether a name, or a MAC address, is that of the link.
func (i *info) isCalled(name string) bool {
	mac, err := net.ParseMAC(name)
	return name == i.name || err == nil && bytes.Equal(mac, i.hardware())
}

// isVLAN tells whether the link is that VLAN on another link.
func (i *info) isVLAN(link string, id int) bool {
	return i.kind == "vlan" && i.name == vlanName(link, id)
}

// role is what a link is for.
type role int

const (
	ignored    role = iota
	member          // of a bond
	parent          // of a VLAN that is configured instead of it
	configured      // by DHCP or by ipam
)

// assignment is a role with its details.
type assignment struct {
	role       role
	preference choose.Preference
	bond       string // whose member it is
	vlan       int    // whose parent it is
}

// plan assigns roles to the links, by name.
func (c *Config) plan(links []info) map[string]assignment {
	roles := map[string]assignment{}
	for _, l := range links {
		if b := c.bondOf(l); b != "" {
			roles[l.name] = assignment{role: member, bond: b}
		}
	}
	for _, l := range links {
		if roles[l.name].role == member || !l.physical && !c.isBond(l) {
			continue
		}
		p := c.preference(l, links, roles)
		vlan, wanted := c.wants(l, p, links, roles)
		switch {
		case !wanted:
			roles[l.name] = assignment{role: ignored, preference: p}
		case vlan == 0:
			roles[l.name] = assignment{role: configured, preference: p}
		default:
			roles[l.name] = assignment{role: parent, preference: p, vlan: vlan}
			if i := slices.IndexFunc(links, func(v info) bool { return v.isVLAN(l.name, vlan) }); i >= 0 {
				roles[links[i].name] = assignment{role: configured, preference: p}
			}
		}
	}
	return roles
}

// wants tells whether a link or its VLAN is to be configured.
func (c *Config) wants(l info, p choose.Preference, links []info, roles map[string]assignment) (vlan int, wanted bool) {
	switch {
	case c.IPAM != nil:
		return c.IPAM.VLAN, c.hasMAC(l, c.IPAM.MAC, links, roles)
	case c.VLAN != 0 && c.HWAddr != nil:
		return c.VLAN, p == choose.ByHWAddr
	case c.Interface != "":
		return c.VLAN, p != choose.Unnamed
	}
	return c.VLAN, true
}

func (c *Config) preference(l info, links []info, roles map[string]assignment) choose.Preference {
	named := func(m info) bool { return m.name == c.Interface && roles[m.name].bond == l.name }
	switch {
	case c.HWAddr != nil && c.hasMAC(l, c.HWAddr, links, roles):
		return choose.ByHWAddr
	case c.Interface != "" && (l.name == c.Interface || slices.ContainsFunc(links, named)):
		return choose.ByInterface
	}
	return choose.Unnamed
}

// hasMAC tells whether the link, or a member of it, has that address.
func (c *Config) hasMAC(l info, mac net.HardwareAddr, links []info, roles map[string]assignment) bool {
	return bytes.Equal(l.hardware(), mac) || slices.ContainsFunc(links, func(m info) bool {
		return roles[m.name].bond == l.name && bytes.Equal(m.hardware(), mac)
	})
}

// best is the best preference that the command line can give.
func (c *Config) best() choose.Preference {
	switch {
	case c.IPAM != nil: // there is one link only
	case c.HWAddr != nil:
		return choose.ByHWAddr
	case c.Interface != "":
		return choose.ByInterface
	}
	return choose.Unnamed
}

// bondOf is the name of the bond that has the link as a member, "" for none.
func (c *Config) bondOf(l info) string {
	if !l.physical {
		return ""
	}
	for _, b := range c.Bonds {
		for _, m := range b.Members {
			if l.isCalled(m) {
				return b.Name
			}
		}
	}
	return ""
}

func (c *Config) isBond(l info) bool {
	return l.kind == "bond" && slices.ContainsFunc(c.Bonds, func(b cmdline.Bond) bool { return b.Name == l.name })
}

// vlanName is "eth0.7", unless that is too long for the kernel.
func vlanName(link string, id int) string {
	const longest = 15
	suffix := fmt.Sprintf(".%d", id)
	if len(link)+len(suffix) > longest {
		return strings.TrimRight(link[:longest-len(suffix)], ".") + suffix
	}
	return link + suffix
}
