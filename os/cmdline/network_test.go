package cmdline

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

var (
	card  = net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	other = net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x57}
)

func TestLinks(t *testing.T) {
	isCard := with(func(c *Config) { c.HWAddr = card })
	checkParse(t, []parsing{
		{"hw_addr=52:54:00:12:34:56", isCard, nil},
		{"hw_addr=52-54-00-12-34-56", isCard, nil},
		{"hw-addr=5254.0012.3456", isCard, nil},
		{"BOOTIF=01-52-54-00-12-34-56", isCard, nil},
		{"BOOTIF=01-52-54-00-12-34-56 bootif=01-52-54-00-12-34-57", isCard, nil},
		{"hw_addr=52:54:00:12:34:56 BOOTIF=01-52-54-00-12-34-57", isCard, nil},
		{"hw_addr=52:54:00:12:34 BOOTIF=01-52-54-00-12-34-56", isCard, []string{
			`hw_addr: "52:54:00:12:34" is not the MAC address of a network card; expected MAC address; ignored`,
		}},
		{"hw_addr= BOOTIF=01-52-54-00-12-34-56", isCard, nil},
		{"hw_addr=52:54:00:12:34:57 hw_addr=52:54:00:12:34:56", isCard, nil},
		{"BOOTIF=52:54:00:12:34:56", standard, []string{`BOOTIF: "52:54:00:12:34:56" is not an Ethernet address behind 01-`}},
		{"BOOTIF=20-52-54-00-12-34-56", standard, []string{"BOOTIF: "}},
		{"BOOTIF", standard, []string{"BOOTIF: it needs a value"}},
		{"hw_addr=00:00:00:00:00:00", standard, []string{"hw_addr: "}},
		{"hw_addr=ff:ff:ff:ff:ff:ff", standard, []string{"hw_addr: "}},
		{"hw_addr=52:54:00:12:34:56:78:9a", standard, []string{"hw_addr: "}},
		{"interface=enp3s0f0.12", with(func(c *Config) { c.Interface = "enp3s0f0.12" }), nil},
		{"interface=eth/0", standard, []string{"interface: "}},
		{"interface=eth0:1", standard, []string{"interface: "}},
		{"interface=..", standard, []string{"interface: "}},
		{"interface=\"eth 0\"", standard, []string{"interface: the value is not the name of"}},
		{"interface=abcdefghijklmno", with(func(c *Config) { c.Interface = "abcdefghijklmno" }), nil},
		{"interface=abcdefghijklmnop", standard, []string{"interface: "}},
		{"vlan_id=4094", with(func(c *Config) { c.VLAN = 4094 }), nil},
		{"vlan_id=0", standard, nil},
		{"vlan_id=4095", standard, []string{`vlan_id: "4095" is not a number from 0 to 4094`}},
		{"vlan_id=-1", standard, []string{"vlan_id: "}},
		{"vlan_id=+1", standard, []string{"vlan_id: "}},
		{"vlan_id=0x10", standard, []string{"vlan_id: "}},
		{"vlan_id=99999999999999999999", standard, []string{"vlan_id: "}},
	})
}

func TestIPAM(t *testing.T) {
	addrs := func(texts ...string) (list []netip.Addr) {
		for _, text := range texts {
			list = append(list, netip.MustParseAddr(text))
		}
		return list
	}
	full := IPAM{
		MAC: card, VLAN: 12, Address: netip.MustParsePrefix("192.0.2.10/24"), Gateway: netip.MustParseAddr("192.0.2.1"), Hostname: "node1",
		DNS: addrs("192.0.2.53", "192.0.2.54"), Search: []string{"example.com", "example.org"}, NTP: []string{"192.0.2.123", "ntp.example.com"},
	}
	for _, tt := range []struct {
		value string
		want  IPAM
	}{
		{"52-54-00-12-34-56:12:192.0.2.10:255.255.255.0:192.0.2.1:node1:192.0.2.53,192.0.2.54:example.com,example.org:192.0.2.123,ntp.example.com", full},
		{"52-54-00-12-34-56:12:192.0.2.10:24:192.0.2.1:node1:192.0.2.53,192.0.2.54:example.com,example.org:192.0.2.123,ntp.example.com", full},
		{"52-54-00-12-34-56::192.0.2.10:255.255.255.255:::::", IPAM{MAC: card, Address: netip.MustParsePrefix("192.0.2.10/32")}},
		{"52-54-00-12-34-56::192.0.2.10:31", IPAM{MAC: card, Address: netip.MustParsePrefix("192.0.2.10/31")}},
		{"52-54-00-12-34-57::10.0.0.1:8:::,10.0.0.2,", IPAM{MAC: other, Address: netip.MustParsePrefix("10.0.0.1/8"), DNS: addrs("10.0.0.2")}},
		{"52-54-00-12-34-56:0:[2001:db8::10]:64:[fe80::1]:node1.example.com:[2001:db8::53],192.0.2.53::[2001:db8::123]", IPAM{
			MAC: card, Address: netip.MustParsePrefix("2001:db8::10/64"), Gateway: netip.MustParseAddr("fe80::1"), Hostname: "node1.example.com",
			DNS: addrs("2001:db8::53", "192.0.2.53"), NTP: []string{"2001:db8::123"},
		}},
		{"52-54-00-12-34-56::192.0.2.10:24::1042", IPAM{MAC: card, Address: netip.MustParsePrefix("192.0.2.10/24"), Hostname: "1042"}},
		{"52-54-00-12-34-56::192.0.2.10:24::node_1", IPAM{MAC: card, Address: netip.MustParsePrefix("192.0.2.10/24"), Hostname: "node_1"}},
		{"52-54-00-12-34-56::192.0.2.10:24::7.a_b.example", IPAM{MAC: card, Address: netip.MustParsePrefix("192.0.2.10/24"), Hostname: "7.a_b.example"}},
	} {
		c, errs := Parse("ipam=" + tt.value)
		if len(errs) != 0 || !reflect.DeepEqual(c.IPAM, &tt.want) {
			t.Errorf("%s gives %+v and %v, want %+v", tt.value, c.IPAM, errs, tt.want)
		}
	}
	for value, want := range map[string]string{
		"x":                             `MAC: "x" is not the MAC address of a network card`,
		"::192.0.2.10:24":               "MAC is missing",
		"52-54-00-12-34-56":             "ADDRESS is missing",
		"52-54-00-12-34-56:::":          "ADDRESS is missing",
		"52-54-00-12-34-56::192.0.2.10": "NETMASK is missing",
		"52-54-00-12-34-56::192.0.2.10::192.0.2.1":              "NETMASK is missing",
		"52:54:00:12:34:56::192.0.2.10:24":                      `MAC: "52" is not`,
		"52-54-00-12-34-56:4095:192.0.2.10:24":                  `VLAN: "4095" is not`,
		"52-54-00-12-34-56::192.0.2.256:24":                     `ADDRESS: "192.0.2.256" is not an IP address`,
		"52-54-00-12-34-56::127.0.0.1:24":                       `ADDRESS: "127.0.0.1" is not an address for a network card`,
		"52-54-00-12-34-56::224.0.0.1:24":                       `ADDRESS: "224.0.0.1" is not`,
		"52-54-00-12-34-56::[fe80::1%eth0]:64":                  `ADDRESS: "[fe80::1%eth0]" is not`,
		"52-54-00-12-34-56::192.0.2.10:33":                      `NETMASK: "33" is not a netmask or a length from 1 to 32`,
		"52-54-00-12-34-56::192.0.2.10:0":                       `NETMASK: "0" is not`,
		"52-54-00-12-34-56::192.0.2.10:255.0.255.0":             `NETMASK: "255.0.255.0" is not`,
		"52-54-00-12-34-56::192.0.2.10:0.0.0.0":                 `NETMASK: "0.0.0.0" is not`,
		"52-54-00-12-34-56::[2001:db8::10]:255.255.0.0":         `NETMASK: "255.255.0.0" is not a netmask or a length from 1 to 128`,
		"52-54-00-12-34-56::192.0.2.10:24:[2001:db8::1]":        `GATEWAY: "[2001:db8::1]" is not of the same IP version as the address`,
		"52-54-00-12-34-56::192.0.2.10:24:gate":                 `GATEWAY: "gate" is not an IP address`,
		"52-54-00-12-34-56::192.0.2.10:24::node1.":              `HOSTNAME: "node1." is not`,
		"52-54-00-12-34-56::192.0.2.10:24::node1.example.":      `HOSTNAME: "node1.example." is not`,
		"52-54-00-12-34-56::192.0.2.10:24::192.0.2.1":           `HOSTNAME: "192.0.2.1" is not`,
		"52-54-00-12-34-56::192.0.2.10:24::1042.42":             `HOSTNAME: "1042.42" is not`,
		"52-54-00-12-34-56::192.0.2.10:24::-node":               `HOSTNAME: "-node" is not`,
		"52-54-00-12-34-56::192.0.2.10:24:::ns.example.com":     `DNS: "ns.example.com" is not an IP address`,
		"52-54-00-12-34-56::192.0.2.10:24::::a/b":               `SEARCH: "a/b" is not a domain name`,
		"52-54-00-12-34-56::192.0.2.10:24:::::10.0.0.999":       `NTP: "10.0.0.999" is not the name or IP address of a host`,
		"52-54-00-12-34-56::192.0.2.10:24:::::a:b":              "it has 10 fields; IPv6 addresses need brackets",
		"52-54-00-12-34-56::2001:db8::10:64:::::":               "it has 12 fields; IPv6 addresses need brackets",
		"52-54-00-12-34-56::[2001:db8::10:64":                   `ADDRESS: "[2001:db8::10:64" is not`,
		"52-54-00-12-34-56::[192.0.2.10]:24":                    `ADDRESS: "[192.0.2.10]" is not`,
		"52-54-00-12-34-56::192.0.2.10:24::\x1b[1m":             "HOSTNAME: the value is not",
		"52-54-00-12-34-56::::::::":                             "ADDRESS is missing",
		"52-54-00-12-34-56::192.0.2.10:24::" + longest + "aa.b": "HOSTNAME: ",
	} {
		c, errs := Parse("ipam=" + value)
		if c.IPAM != nil || len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "kernel parameter ipam: "+want) {
			t.Errorf("%q gives %+v and %v, want %q", value, c.IPAM, errs, want)
		}
	}
}

// longest is the longest label of a domain name.
var longest = strings.Repeat("a", 63)

func TestBonds(t *testing.T) {
	bond := func(name, mode string, members []string, options ...string) Bond {
		b := Bond{Name: name, Members: members, Mode: mode, Options: map[string]string{"miimon": "100"}}
		for i := 0; i < len(options); i += 2 {
			b.Options[options[i]] = options[i+1]
		}
		return b
	}
	jumbo := bond("bond0", LACP, []string{card.String(), other.String()}, "lacp_rate", "fast", "xmit_hash_policy", "layer3+4")
	jumbo.MTU = 9000
	for _, tt := range []struct {
		line string
		want []Bond
		err  string
	}{
		{"ember.bond=", nil, ""},
		{"ember.bond=bond0:eth0,eth1", []Bond{bond("bond0", ActiveBackup, []string{"eth0", "eth1"})}, ""},
		{"ember.bond=bond0:eth0,eth1::", []Bond{bond("bond0", ActiveBackup, []string{"eth0", "eth1"})}, ""},
		{"ember.bond=bond0:52-54-00-12-34-56,52-54-00-12-34-57:mode=802.3ad,lacp_rate=fast,xmit_hash_policy=layer3+4:9000", []Bond{jumbo}, ""},
		{"ember.bond=bond0:52-54-00-12-34-56,52-54-00-12-34-57:mode=4,lacp_rate=1,xmit_hash_policy=1:9000", []Bond{jumbo}, ""},
		{"ember.bond=b:eth0,52-54-00-12-34-57:primary=52-54-00-12-34-57,miimon=050,updelay=0", []Bond{
			bond("b", ActiveBackup, []string{"eth0", other.String()}, "primary", other.String(), "miimon", "50", "updelay", "0"),
		}, ""},
		{"ember.bond=a:eth0 ember.bond=b:eth1", []Bond{bond("a", ActiveBackup, []string{"eth0"}), bond("b", ActiveBackup, []string{"eth1"})}, ""},
		{"ember.bond=a:eth0 ember.bond=a:eth1", []Bond{bond("a", ActiveBackup, []string{"eth1"})}, ""},
		{"ember.bond=a:eth0 ember.bond=b:eth1,eth0", []Bond{bond("a", ActiveBackup, []string{"eth0"})}, "eth0 is a member of a"},
		{"ember.bond=a:eth0 ember.bond=a", []Bond{bond("a", ActiveBackup, []string{"eth0"})}, "it has 1 fields"},
		{"ember.bond=bond0:52:54:00:12:34:56", nil, "it has 7 fields; MAC addresses need dashes"},
		{"ember.bond=:eth0", nil, `"" is not the name of`},
		{"ember.bond=a/b:eth0", nil, `"a/b" is not the name of`},
		{"ember.bond=a:", nil, "it has no members"},
		{"ember.bond=a:,", nil, "it has no members"},
		{"ember.bond=a:eth0,eth0", nil, "eth0 is there twice"},
		{"ember.bond=a:a", nil, "a is there twice"},
		{"ember.bond=a:01-00-5e-00-00-01", nil, `"01-00-5e-00-00-01" is not the MAC address`},
		{"ember.bond=a:eth0:mode=balance-rr", nil, `mode: "balance-rr" is not one of its values`},
		{"ember.bond=a:eth0:mode=0", nil, `mode: "0" is not one of its values`},
		{"ember.bond=a:eth0:mode", nil, `mode: "" is not one of its values`},
		{"ember.bond=a:eth0:miimon=0", nil, `miimon: "0" is not a number from 1`},
		{"ember.bond=a:eth0:speed=9", nil, `"speed" is not an option`},
		{"ember.bond=a:eth0:lacp_rate=fast", nil, "lacp_rate is for mode=802.3ad only"},
		{"ember.bond=a:eth0:primary=eth0,mode=4", nil, "primary is for mode=active-backup only"},
		{"ember.bond=a:eth0:primary=eth1", nil, "primary: eth1 is no member"},
		{"ember.bond=a:eth0::67", nil, `"67" is not a number from 68 to 65535`},
	} {
		c, errs := Parse(tt.line)
		if !reflect.DeepEqual(c.Bonds, tt.want) {
			t.Errorf("%s gives %+v, want %+v", tt.line, c.Bonds, tt.want)
		}
		if tt.err == "" && len(errs) != 0 ||
			tt.err != "" && (len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "kernel parameter ember.bond: "+tt.err)) {
			t.Errorf("%s reports %v, want %q", tt.line, errs, tt.err)
		}
	}
}
