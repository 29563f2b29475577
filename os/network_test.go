package os_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/service"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

// lan is a network 10.0.N.0/24 in which the lab is 10.0.N.1 and gives leases with a
// route, a name server and an NTP server.
func lan(name, n string) lab.LAN {
	return lab.LAN{
		Name:  name,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.0." + n + ".1/24")},
		DHCP: strings.NewReplacer("NAME", name, "N", n).Replace(
			"dhcp-range=10.0.N.100,10.0.N.199,2m\ndhcp-option=tag:NAME,option:ntp-server,0.0.0.0"),
	}
}

// silent is a network without a DHCP server.
func silent(name, n string) lab.LAN {
	l := lan(name, n)
	l.DHCP = ""
	return l
}

// routeless is a network like that of a BMC: its leases lead nowhere.
func routeless(name, n string) lab.LAN {
	l := lan(name, n)
	l.DHCP += "\ndhcp-option=tag:" + name + ",option:router"
	return l
}

func on(l lab.LAN, wire string, vlan int) lab.LAN {
	l.Wire, l.VLAN = wire, vlan
	return l
}

func withLACP(l lab.LAN) lab.LAN {
	l.LACP = true
	return l
}

func delayed(l lab.LAN, d time.Duration) lab.LAN {
	l.Delay = d
	return l
}

var ipv6Only = lab.LAN{
	Name:  "six",
	Addrs: []netip.Prefix{netip.MustParsePrefix("fd00:6::1/64")},
	DHCP: "enable-ra\ndhcp-range=::100,::1ff,constructor:six,slaac,64,2m\n" +
		"dhcp-option=option6:dns-server,[fd00:6::1]",
}

// ipv6Managed is a network in which addresses come from a server only.
var ipv6Managed = lab.LAN{
	Name:  ipv6Only.Name,
	Addrs: ipv6Only.Addrs,
	DHCP: "enable-ra\ndhcp-range=::100,::1ff,constructor:six,64,2m\n" +
		"dhcp-option=option6:dns-server,[fd00:6::1]",
}

func withoutNTP(l lab.LAN) lab.LAN {
	l.DHCP, _, _ = strings.Cut(l.DHCP, "\n")
	return l
}

// startLab starts a lab with DHCP, DNS and NTP.
func startLab(t testing.TB, lans ...lab.LAN) *lab.Lab {
	t.Helper()
	return lab.Start(t, lab.Config{
		Root:    toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")},
		LANs:    lans,
		Servers: []lab.Server{lab.DNSMasq, lab.Chronyd},
		DNSMasq: "address=/registry.test/10.9.9.9\nhost-record=registry.test,fd00:9::9",
	})
}

// card is a NIC with an address that tests know, 52:54:00:00:00:NN.
func card(l *lab.Lab, lan, nn string) vm.NIC {
	nic := l.Port(lan)
	nic.MAC = "52:54:00:00:00:" + nn
	return nic
}

// TestNetwork boots in networks of all kinds and looks at what the stage says, and at
// what the machine's programs see.
func TestNetwork(t *testing.T) {
	type cards []struct{ lan, nn, model string }
	type checks []struct{ command, want string }
	const resolver = "grep ^nameserver /etc/resolv.conf | head -n 1"
	const lookUp = "nslookup -type=a registry.test | grep -c 10.9.9.9"
	for _, test := range []struct {
		name   string
		append string
		lans   []lab.LAN
		cards  cards
		want   map[string]string // beginnings of fields of the stage
		checks checks
	}{{
		name:  "RightOneOfMany",
		lans:  []lab.LAN{silent("dead", "8"), routeless("bmc", "9"), lan("boot", "1")},
		cards: cards{{"dead", "01", ""}, {"bmc", "02", "usb-net"}, {"dead", "03", "e1000e"}, {"boot", "04", ""}, {"dead", "05", ""}},
		want:  map[string]string{"address": "10.0.1.1", "gateway": "10.0.1.1", "by": "dhcp4"},
		checks: checks{
			{resolver, "nameserver 10.0.1.1"}, {lookUp, "1"},
			{"ip route get 192.0.2.1 | grep -c 'via 10.0.1.1'", "1"},
			{"cat /sys/class/net/$(ip route get 192.0.2.1 | sed 's/.* dev \\([^ ]*\\).*/\\1/;1q')/address", "52:54:00:00:00:04"},
			{"hostname", "ember-000004"},
			{"grep -c \"$(hostname)\" /etc/hosts", "1"},
		},
	}, {
		name:   "HWAddr",
		append: "hw_addr=52:54:00:00:00:02",
		lans:   []lab.LAN{lan("other", "8"), lan("boot", "1")},
		cards:  cards{{"other", "01", ""}, {"boot", "02", ""}},
		want:   map[string]string{"address": "10.0.1.1", "gateway": "10.0.1.1"},
	}, {
		name:   "BOOTIF",
		append: "BOOTIF=01-52-54-00-00-00-02",
		lans:   []lab.LAN{lan("other", "8"), lan("boot", "1")},
		cards:  cards{{"other", "01", ""}, {"boot", "02", ""}},
		want:   map[string]string{"address": "10.0.1.1"},
	}, {
		name:   "Interface",
		append: "interface=eth1",
		lans:   []lab.LAN{lan("other", "8"), lan("boot", "1")},
		cards:  cards{{"other", "01", ""}, {"boot", "02", ""}},
		want:   map[string]string{"link": "eth1", "address": "10.0.1.1"},
		checks: checks{{"ip -4 addr show dev eth0 | grep -c inet", "0"}},
	}, {
		name:   "VLAN",
		append: "hw_addr=52:54:00:00:00:02 vlan_id=42",
		lans:   []lab.LAN{lan("other", "8"), lan("trunk", "2"), on(lan("tagged", "3"), "trunk", 42)},
		cards:  cards{{"other", "01", ""}, {"trunk", "02", ""}},
		want:   map[string]string{"address": "10.0.3.1", "gateway": "10.0.3.1"},
		checks: checks{
			{lookUp, "1"}, {"ip -4 addr | grep -c 'inet 10.0.[28]'", "0"},
			{"ip link delete eth1.42 && until ip -4 addr show dev eth1.42 | grep -q 'inet 10.0.3'; do sleep 1; done && echo back", "back"},
		},
	}, {
		name:   "BondHWAddr",
		append: "ember.bond=bond0:eth0,eth1 hw_addr=52:54:00:00:00:02",
		lans:   []lab.LAN{lan("boot", "1")},
		cards:  cards{{"boot", "01", ""}, {"boot", "02", ""}},
		want:   map[string]string{"link": "bond0", "address": "10.0.1.1"},
		checks: checks{
			{"cat /sys/class/net/bond0/address", "52:54:00:00:00:02"},
			{"cd /sys/class/net/bond0/bonding; echo -eth0 > slaves && until grep -qw eth0 slaves; do sleep 1; done && echo back", "back"},
		},
	}, {
		name:   "BondLACP",
		append: "ember.bond=bond0:eth0,52-54-00-00-00-02:mode=802.3ad,lacp_rate=fast",
		lans:   []lab.LAN{withLACP(lan("trunk", "2"))},
		cards:  cards{{"trunk", "01", "e1000e"}, {"trunk", "02", "e1000e"}},
		want:   map[string]string{"link": "bond0", "address": "10.0.2.1"},
		checks: checks{{"grep -c 'Number of ports: 2' /proc/net/bonding/bond0", "1"}, {"cat /sys/class/net/bond0/address", "52:54:00:00:00:01"}, {lookUp, "1"}},
	}, {
		name:   "VLANOnBond",
		append: "ember.bond=bond0:eth0,eth1:mode=802.3ad,lacp_rate=fast hw_addr=52:54:00:00:00:01 vlan_id=42",
		lans:   []lab.LAN{withLACP(silent("trunk", "2")), on(lan("tagged", "3"), "trunk", 42)},
		cards:  cards{{"trunk", "01", "e1000e"}, {"trunk", "02", "e1000e"}},
		want:   map[string]string{"address": "10.0.3.1"},
	}, {
		name:  "IPv6Only",
		lans:  []lab.LAN{ipv6Only, silent("dead", "8")},
		cards: cards{{"dead", "01", ""}, {"six", "02", ""}},
		want:  map[string]string{"link": "eth1", "address": "fd00:6::"},
		checks: checks{
			{resolver, "nameserver fd00:6::1"},
			{"nslookup -type=aaaa registry.test | grep -c fd00:9::9", "1"},
			{"ping -6 -c 1 -W 5 fd00:6::1 | grep -c ' 0% packet loss'", "1"},
		},
	}, {
		name:  "DHCPv6",
		lans:  []lab.LAN{ipv6Managed},
		cards: cards{{"six", "01", ""}},
		want:  map[string]string{"address": "fd00:6::1", "by": "dhcp6"},
		checks: checks{
			{resolver, "nameserver fd00:6::1"},
			{"nslookup -type=aaaa registry.test | grep -c fd00:9::9", "1"},
		},
	}, {
		name:   "NTPServer",
		append: "ember.ntp=10.0.8.1",
		lans:   []lab.LAN{withoutNTP(lan("boot", "8"))},
		cards:  cards{{"boot", "01", ""}},
		want:   map[string]string{"address": "10.0.8.1"},
		checks: checks{{"grep -o '\"Source\": \"10.0.8.1\"' /run/ember/time.json | wc -l", "1"}},
	}, {
		name:   "Static",
		append: "ipam=52-54-00-00-00-02::10.0.8.50:255.255.255.0:10.0.8.1:node50:10.0.8.1:rack.test,test:10.0.8.1",
		lans:   []lab.LAN{lan("other", "1"), silent("boot", "8")},
		cards:  cards{{"other", "01", ""}, {"boot", "02", ""}},
		want:   map[string]string{"link": "eth1", "address": "10.0.8.50/24", "gateway": "10.0.8.1", "by": "static"},
		checks: checks{
			{"hostname", "node50"}, {resolver, "nameserver 10.0.8.1"}, {lookUp, "1"},
			{"grep ^search /etc/resolv.conf", "search rack.test test"},
			{"nslookup -type=a registry | grep -c 10.9.9.9", "1"},
			{"grep -o '\"Source\": \"10.0.8.1\"' /run/ember/time.json | wc -l", "1"},
		},
	}, {
		name:   "StaticVLAN",
		append: "ipam=52-54-00-00-00-01:42:10.0.3.50:24:10.0.3.1::10.0.3.1::",
		lans:   []lab.LAN{silent("trunk", "2"), on(silent("tagged", "3"), "trunk", 42)},
		cards:  cards{{"trunk", "01", ""}},
		want:   map[string]string{"address": "10.0.3.50/24", "by": "static"},
		checks: checks{{lookUp, "1"}},
	}, {
		name:  "SlowLease",
		lans:  []lab.LAN{delayed(lan("boot", "1"), 20*time.Second)},
		cards: cards{{"boot", "01", ""}},
		want:  map[string]string{"address": "10.0.1.1"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := startLab(t, test.lans...)
			c := config(t)
			c.Append = "ember.debug=shell " + test.append
			for _, n := range test.cards {
				nic := card(l, n.lan, n.nn)
				nic.Model = n.model
				c.NICs = append(c.NICs, nic)
			}
			m := vmtest.Start(t, c)
			line := await(m, stage.Network)
			for _, n := range test.lans {
				if line.T < n.Delay {
					t.Errorf("the network is there before its DHCP server answers, which takes %v: %v", n.Delay, line)
				}
			}
			for key, want := range test.want {
				if got := line.Get(key); !strings.HasPrefix(got, want) {
					t.Errorf("%s=%s, want %s: %v", key, got, want, line)
				}
			}
			await(m, stage.Time)
			for _, check := range test.checks {
				if got := ask(t, m, check.command); got != check.want {
					t.Errorf("%s\nprints %q, want %q", check.command, got, check.want)
				}
			}
		})
	}
}

// TestNoNetwork has a console that can be used although no server ever answers.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	l := startLab(t, silent("dead", "8"))
	c := config(t)
	c.Append = "ember.debug=shell"
	c.NICs = []vm.NIC{l.Port("dead"), l.Port("dead")}
	m := vmtest.Start(t, c)
	await(m, stage.Ready)
	for _, test := range []struct{ command, want string }{
		{"echo usable", "usable"},
		{"ember status | grep -c virtio_net", "2"},
	} {
		if got := ask(t, m, test.command); got != test.want {
			t.Errorf("%s\nprints %q, want %q", test.command, got, test.want)
		}
	}
	eventually(t, "the network", func() bool { return statuses(t, m)["ember-network.service"].State == service.Starting })
}

// TestChanges pulls cables and changes leases while the machine runs.
func TestChanges(t *testing.T) {
	t.Parallel()
	boot := lan("boot", "1")
	boot.DHCP += "\ndhcp-option=option:T1,8\ndhcp-option=option:T2,16"
	l := startLab(t, boot, lan("other", "8"))
	c := config(t)
	c.Append = "ember.debug=shell hw_addr=52:54:00:00:00:01"
	c.NICs = []vm.NIC{card(l, "boot", "01"), card(l, "other", "02")}
	m := vmtest.Start(t, c)
	await(m, stage.Network)

	l.SetDHCP("boot", strings.NewReplacer(".100", ".30", ".199", ".39").Replace(boot.DHCP))
	eventually(t, "the new address, alone", func() bool {
		addresses := ask(t, m, "ip -4 -o addr show dev eth0 | sed 's/.*inet \\([^ ]*\\).*/\\1/' | paste -sd,")
		return strings.HasPrefix(addresses, "10.0.1.3") && !strings.Contains(addresses, ",")
	})
	route := func() string { return ask(t, m, "ip route get 192.0.2.1 | sed 's/.*via \\([^ ]*\\).*/\\1/;1q'") }
	if got := route(); got != "10.0.1.1" {
		t.Errorf("the route leads to %s", got)
	}
	if err := m.SetLink(t.Context(), 0, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other link to take over", func() bool { return route() == "10.0.8.1" })
	eventually(t, "the name server of the other link", func() bool {
		return ask(t, m, "grep -c 'nameserver 10.0.8.1' /etc/resolv.conf") == "1"
	})
	if err := m.SetLink(t.Context(), 0, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the preferred link to come back", func() bool { return route() == "10.0.1.1" })
}

// TestActiveBackup pulls the cable of a bond's active member.
func TestActiveBackup(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	c := config(t)
	c.Append = "ember.debug=shell ember.bond=bond0:eth0,eth1:mode=active-backup,miimon=100,primary=eth0"
	c.NICs = []vm.NIC{card(l, "boot", "01"), card(l, "boot", "02")}
	m := vmtest.Start(t, c)
	if line := await(m, stage.Network); line.Get("link") != "bond0" {
		t.Errorf("the network is %v", line)
	}
	active := func() string { return ask(t, m, "cat /sys/class/net/bond0/bonding/active_slave") }
	if got := active(); got != "eth0" {
		t.Errorf("%s is active", got)
	}
	if err := m.SetLink(t.Context(), 0, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other member to take over", func() bool { return active() == "eth1" })
	eventually(t, "an answer through it", func() bool {
		return ask(t, m, "ping -c 1 -W 2 10.0.1.1 | grep -c ' 0% packet loss'") == "1"
	})
}
