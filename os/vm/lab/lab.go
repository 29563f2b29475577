// Package lab gives virtual machines real networks with real servers, without
// privileges and without a network of the host's. A [Lab] is one in a test.
//
// A [Network] is a network namespace in which Debian's own programs run, from the
// test root: dnsmasq (DHCP, router advertisements, DNS), chronyd (NTP) and
// rsyslogd (syslog over UDP, TCP and TLS). It has an address in each [LAN].
// [Network.Port] gives a network card whose cable ends there, for vm.Config.NICs.
//
// A wire is what such a cable is plugged into: a switch that learns addresses,
// with a LAN on it and, by their tags, any number of VLANs. A wire with LACP
// takes all its cables together as the other end of one machine's 802.3ad bond.
// Nothing of this needs the host kernel's VLAN, bridge, bonding or tun: the lab
// itself moves the frames between QEMU's sockets and a veth pair for each LAN.
//
// Frames are lost as on a real wire: where a machine does not read them. There
// is no routing between LANs, nor out of the lab.
//
// A program's or test's main calls toolroot.Init and [Init] first, because the
// lab is that program, started again.
package lab

import (
	"net/netip"
	"time"

	"github.com/ember-os/ember/tools/toolroot"
)

// Config describes a lab.
type Config struct {
	Root toolroot.Root // the test root
	LANs []LAN
	// Servers run from the start, those that Start starts later are not here.
	Servers []Server
	// DNSMasq is lines of dnsmasq.conf(5) for all LANs, such as
	// "address=/registry.test/10.0.1.1".
	DNSMasq string
	// Files is a folder whose files dnsmasq serves by TFTP, none if it is empty.
	Files string
}

// LAN is a network. The lab's end of it is an interface with its name.
type LAN struct {
	Name  string         // at most 15 characters
	Addrs []netip.Prefix // the lab's own, all of which serve
	// DHCP is lines of dnsmasq.conf(5) for this LAN; none means that nobody
	// answers. They are what makes leases and router advertisements:
	// "dhcp-range=10.0.1.100,10.0.1.199,2m". The LAN's name is a tag for
	// options: "dhcp-option=tag:boot,option:ntp-server,0.0.0.0".
	DHCP string
	// Delay is how long the DHCP server keeps silent after the first request.
	Delay time.Duration
	// Wire, if set, names the LAN on whose wire this one is, as the VLAN
	// numbered VLAN. Otherwise the LAN has its own, without tags.
	Wire string
	VLAN int
	// LACP makes the wire's cables one aggregate (see the package comment).
	LACP bool
}

// Server is a program of the lab, which serves in all LANs.
type Server string

// The servers.
const (
	DNSMasq  Server = "dnsmasq"
	Chronyd  Server = "chronyd"
	Rsyslogd Server = "rsyslogd"
)

// Where the files of a lab are: the first three inside, the others in Network.dir.
const (
	insideExe = "/lab/exe"
	insideDir = "/lab/dir"
	filesDir  = "/lab/files"
	cablesDir = "cables"
	logsDir   = "logs"
	certsDir  = "certs"
)
