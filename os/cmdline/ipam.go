package cmdline

import (
	"net"
	"net/netip"
)

// IPAM is a static network configuration.
type IPAM struct {
	MAC      net.HardwareAddr
	VLAN     int // 0 for none
	Address  netip.Prefix
	Gateway  netip.Addr
	Hostname string
	DNS      []netip.Addr
	Search   []string
	NTP      []string
}
