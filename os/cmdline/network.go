package cmdline

import (
	"net"
	"strings"
)

// The parameters of the network.
const (
	BootIFParam    = "BOOTIF"
	HWAddrParam    = "hw_addr"
	InterfaceParam = "interface"
	VLANParam      = "vlan_id"
	IPAMParam      = "ipam"
	BondParam      = "ember.bond"
)

const networkDoc = "### ipam\n\n" + ipamDoc + "\n\n### ember.bond\n\n" + bondDoc

// networkParams has HWAddrParam behind BootIFParam, over which it wins.
var networkParams = []Param{{
	Name: BootIFParam,
	Type: "hardware type 01, then a MAC address, all with dashes: `01-52-54-00-12-34-56`",
	Doc: "The network card that the machine was booted from, as PXELINUX and iPXE scripts give it. " +
		"It is used before all others. `hw_addr` wins.",
	set: into(func(c *Config) *net.HardwareAddr { return &c.HWAddr }, bootIF),
}, {
	Name: HWAddrParam,
	Type: "MAC address",
	Doc:  "The network card that the machine was booted from. It is used before all others.",
	set:  into(func(c *Config) *net.HardwareAddr { return &c.HWAddr }, mac),
}, {
	Name: InterfaceParam,
	Type: "name of a network interface",
	Doc:  "Only this interface is used, and that of `hw_addr`.",
	set:  into(func(c *Config) *string { return &c.Interface }, linkName),
}, {
	Name: VLANParam,
	Type: "number from 1 to 4094; 0 for none",
	Doc:  "A VLAN on the network card of `hw_addr`, without that on every card. DHCP is done only there.",
	set:  into(func(c *Config) *int { return &c.VLAN }, vlan),
}, {
	Name: IPAMParam,
	Type: "MAC:VLAN:ADDRESS:NETMASK:GATEWAY:HOSTNAME:DNS:SEARCH:NTP",
	Doc:  "A static address instead of DHCP, see below.",
	set:  into(func(c *Config) **IPAM { return &c.IPAM }, parseIPAM),
}, {
	Name:    BondParam,
	Type:    "NAME:MEMBERS:OPTIONS:MTU",
	Doc:     "A bond of several network cards, see below. Of two with the same name the last one counts.",
	Repeats: true,
	set:     addBond,
}}

// bootIF takes the hardware type off, which is ARP's (RFC 826) in hexadecimal: 1 is
// Ethernet.
func bootIF(value string) (net.HardwareAddr, error) {
	address, ok := strings.CutPrefix(value, "01-")
	if !ok {
		return nil, notA(value, "an Ethernet address behind 01-")
	}
	return mac(address)
}
