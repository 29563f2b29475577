// Package networkd brings up the machine's network and keeps it up: the daemon
// `ember networkd`.
//
// All hardware links are brought up at once, each asks for an IPv4 lease (dhcp4) as
// soon as it has a carrier and takes IPv6 addresses from router advertisements (ra)
// and, if those say so, DHCPv6 (dhcp6). One of them is the machine's network (choose):
// its default route, name servers, time servers and names are used. All others keep
// their addresses and have a default route of a higher metric. When the chosen link
// loses its carrier or its lease, another takes over.
//
// The search is settled when there is a network; when no link has had a carrier for
// CarrierWait; or after Deadline. Then the daemon is ready, and goes on looking for
// as long as it runs. Nothing waits for anything else: links that come later, or that
// lose and get back their cables, are treated as those at the start.
//
// With ipam one link has the address given there and no other link is configured.
// With interface only the link of that name, and that of hw_addr, are. With vlan_id
// the VLAN is made on every link that would be configured, but with hw_addr only on
// that one, and configured in its place. A bond is configured in place of its
// members: what is said of one of them is said of it.
//
// The host name is that of ipam, else of DHCP, else "ember-" and the last three
// bytes of the MAC address ("ember" without a card). Nothing is taken back when the
// daemon ends: its successor goes on with the addresses, routes, names and servers
// that it finds.
package networkd

import (
	"log/slog"
	"net"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/vishvananda/netlink"
)

// How long is waited for what.
const (
	// CarrierWait is how long all links may be without a carrier before the search
	// is settled. Slow ports have theirs after about 5 s.
	CarrierWait = 15 * time.Second
	// Deadline is when the search is settled in any case.
	Deadline = 120 * time.Second
	// Hold is how long a link without a carrier is still taken for ready.
	Hold = 5 * time.Second
	// IPv4Wait is how long IPv4 is waited for from when a link has its carrier: by one
	// with IPv6 alone, and by the one in use for its lease to be confirmed.
	IPv4Wait = 5 * time.Second
	// SolicitWait is how long is waited for a router before it is asked for again
	// (RFC 7559), which takes twice as long each time.
	SolicitWait = 4 * time.Second
)

// Config is what the command line says of the network, and where things are.
type Config struct {
	HWAddr    net.HardwareAddr // nil if not given
	Interface string
	VLAN      int // 0 for none
	IPAM      *cmdline.IPAM
	Bonds     []cmdline.Bond

	Root string // "/", or a directory in its place
	// Physical tells whether a link is a network card.
	Physical func(netlink.Link) bool
	// Backlog is how many bytes of the kernel's messages may wait to be read, which takes the
	// privileges of the first user namespace; 0 leaves it at what the kernel thinks best.
	Backlog int
	// Notify tells the service manager, see sd_notify(3).
	Notify func(state string)
	Log    *slog.Logger
}

// IsPhysical tells whether a link is an Ethernet card: it belongs to a device.
func IsPhysical(l netlink.Link) bool {
	a := l.Attrs()
	return l.Type() == "device" && a.ParentDev != "" && a.EncapType == "ether"
}
