package networkd

import (
	"maps"
	"net"
	"net/netip"
	"testing"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/networkd/choose"
	"github.com/vishvananda/netlink"
)

func TestPlan(t *testing.T) {
	a, b, c := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}, net.HardwareAddr{2, 0, 0, 0, 0, 3}
	eth0, eth1, eth2 := info{name: "eth0", mac: a, physical: true}, info{name: "eth1", mac: b, physical: true}, info{name: "eth2", mac: c, physical: true}
	lo, docker := info{name: "lo"}, info{name: "docker0", kind: "bridge", mac: a}
	bond := info{name: "bond0", kind: "bond", mac: a}
	slave := info{name: "eth1", mac: a, permMAC: b, physical: true}
	three := []info{lo, docker, eth0, eth1, eth2}
	bonds := []cmdline.Bond{{Name: "bond0", Members: []string{"eth0", b.String()}}}
	bonded := []info{lo, eth0, slave, eth2, bond}
	ipam := func(mac net.HardwareAddr, vlan int) *cmdline.IPAM {
		return &cmdline.IPAM{MAC: mac, VLAN: vlan, Address: netip.MustParsePrefix("10.0.0.9/24")}
	}
	use := func(p choose.Preference) assignment { return assignment{role: configured, preference: p} }
	idle := func(p choose.Preference) assignment { return assignment{role: ignored, preference: p} }
	carries := func(p choose.Preference, vlan int) assignment {
		return assignment{role: parent, preference: p, vlan: vlan}
	}
	const first, second, none = choose.ByHWAddr, choose.ByInterface, choose.Unnamed
	part := assignment{role: member, bond: "bond0"}
	for _, tt := range []struct {
		about string
		Config
		links []info
		want  map[string]assignment
		best  choose.Preference
	}{
		{"nothing said", Config{}, three, map[string]assignment{"eth0": use(none), "eth1": use(none), "eth2": use(none)}, none},
		{"hw_addr", Config{HWAddr: b}, three, map[string]assignment{"eth0": use(none), "eth1": use(first), "eth2": use(none)}, first},
		{"interface", Config{Interface: "eth1"}, three, map[string]assignment{"eth0": idle(none), "eth1": use(second), "eth2": idle(none)}, second},
		{"both", Config{Interface: "eth1", HWAddr: a}, three, map[string]assignment{"eth0": use(first), "eth1": use(second), "eth2": idle(none)}, first},
		{"VLAN of hw_addr, to be made", Config{HWAddr: a, VLAN: 7}, three, map[string]assignment{"eth0": carries(first, 7), "eth1": idle(none), "eth2": idle(none)}, first},
		{"VLAN of hw_addr", Config{HWAddr: a, VLAN: 7}, append(three, info{name: "eth0.7", kind: "vlan"}),
			map[string]assignment{"eth0": carries(first, 7), "eth0.7": use(first), "eth1": idle(none), "eth2": idle(none)}, first},
		{"VLAN of all", Config{VLAN: 7}, []info{eth0, eth1}, map[string]assignment{"eth0": carries(none, 7), "eth1": carries(none, 7)}, none},
		{"VLAN of interface", Config{VLAN: 7, Interface: "eth1"}, []info{eth0, eth1}, map[string]assignment{"eth0": idle(none), "eth1": carries(second, 7)}, second},
		{"a foreign VLAN", Config{}, []info{eth0, {name: "eth0.8", kind: "vlan"}}, map[string]assignment{"eth0": use(none)}, none},
		{"ipam", Config{IPAM: ipam(c, 0), HWAddr: a}, three, map[string]assignment{"eth0": idle(first), "eth1": idle(none), "eth2": use(none)}, none},
		{"ipam with VLAN", Config{IPAM: ipam(c, 9), VLAN: 7}, three, map[string]assignment{"eth0": idle(none), "eth1": idle(none), "eth2": carries(none, 9)}, none},
		{"bond", Config{Bonds: bonds}, bonded, map[string]assignment{"eth0": part, "eth1": part, "eth2": use(none), "bond0": use(none)}, none},
		{"bond without members", Config{Bonds: bonds}, []info{bond, eth2}, map[string]assignment{"eth2": use(none), "bond0": use(none)}, none},
		{"a foreign bond", Config{}, []info{bond}, map[string]assignment{}, none},
		{"hw_addr of a member", Config{Bonds: bonds, HWAddr: b}, bonded, map[string]assignment{"eth0": part, "eth1": part, "eth2": use(none), "bond0": use(first)}, first},
		{"interface is a member", Config{Bonds: bonds, Interface: "eth1"}, bonded, map[string]assignment{"eth0": part, "eth1": part, "eth2": idle(none), "bond0": use(second)}, second},
		{"VLAN on the bond", Config{Bonds: bonds, HWAddr: b, VLAN: 7}, append(bonded, info{name: "bond0.7", kind: "vlan"}),
			map[string]assignment{"eth0": part, "eth1": part, "eth2": idle(none), "bond0": carries(first, 7), "bond0.7": use(first)}, first},
		{"ipam of a member", Config{Bonds: bonds, IPAM: ipam(b, 0)}, bonded, map[string]assignment{"eth0": part, "eth1": part, "eth2": idle(none), "bond0": use(none)}, none},
	} {
		if got := tt.plan(tt.links); !maps.Equal(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.about, got, tt.want)
		}
		if got := tt.Config.best(); got != tt.best {
			t.Errorf("%s: the best preference is %v, want %v", tt.about, got, tt.best)
		}
	}
}

func TestVLANName(t *testing.T) {
	for link, want := range map[string]string{"eth0": "eth0.4094", "enp129s0f0np0": "enp129s0f0.4094", "enp129s0f.np0x": "enp129s0f.4094"} {
		if got := vlanName(link, 4094); got != want {
			t.Errorf("the VLAN of %s is %s, want %s", link, got, want)
		}
	}
}

func TestBond(t *testing.T) {
	b, err := newBond(cmdline.Bond{Name: "bond0", Mode: cmdline.LACP, MTU: 9000, Options: map[string]string{
		"miimon": "50", "lacp_rate": "fast", "xmit_hash_policy": "layer3+4", "updelay": "86400000", "ad_select": "count", "min_links": "1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if b.Name != "bond0" || b.MTU != 9000 || b.Mode != netlink.BOND_MODE_802_3AD || b.Miimon != 50 || b.UpDelay != 86400000 || b.DownDelay != -1 ||
		b.LacpRate != netlink.BOND_LACP_RATE_FAST || b.XmitHashPolicy != netlink.BOND_XMIT_HASH_POLICY_LAYER3_4 || b.AdSelect != netlink.BOND_AD_SELECT_COUNT || b.MinLinks != 1 {
		t.Errorf("the bond is %+v", b)
	}
	b, err = newBond(cmdline.Bond{Name: "bond0", Mode: cmdline.ActiveBackup, Options: map[string]string{"primary": "eth0", "fail_over_mac": "active", "primary_reselect": "better"}})
	if err != nil || b.Miimon != 100 || b.Primary != -1 || b.FailOverMac != netlink.BOND_FAIL_OVER_MAC_ACTIVE || b.PrimaryReselect != netlink.BOND_PRIMARY_RESELECT_BETTER {
		t.Errorf("the bond is %+v, %v", b, err)
	}
	for name, value := range map[string]string{"miimon": "x", "lacp_rate": "2x", "xmit_hash_policy": "layer9", "speed": "1", "fail_over_mac": "", "ad_select": "no", "primary_reselect": "no"} {
		if _, err := newBond(cmdline.Bond{Mode: cmdline.LACP, Options: map[string]string{name: value}}); err == nil {
			t.Errorf("option %s=%s is accepted", name, value)
		}
	}
	if _, err := newBond(cmdline.Bond{Mode: "balance-rr2"}); err == nil {
		t.Error("a mode that does not exist is accepted")
	}
}
