package networkd

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/networkd/dhcp4"
	"github.com/ember-os/ember/os/networkd/dhcp6"
	"github.com/ember-os/ember/os/networkd/etcfiles"
	"github.com/ember-os/ember/os/networkd/ra"
	"github.com/ember-os/ember/os/stage"
	"github.com/vishvananda/netlink"
)

// TestManyRouters has more routers than there can be, most of which vanish.
func TestManyRouters(t *testing.T) {
	d := &daemon{Config: Config{Log: slog.New(slog.DiscardHandler)}}
	l := &link{modes: make(chan dhcp6.Mode, carrierBacklog)}
	address := func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(i >> 8), 15: byte(i)})
	}
	for i := range 1000 {
		d.setRouter(l, ra.Advertisement{Router: address(i), Lifetime: time.Hour})
	}
	if len(l.routers) != mostRouters {
		t.Errorf("there are %d routers", len(l.routers))
	}
	d.setRouter(l, ra.Advertisement{Router: address(0)})
	d.expireRouters(l, time.Now())
	if len(l.routers) != mostRouters-1 {
		t.Errorf("when one says good-bye there are %d routers", len(l.routers))
	}
	d.setRouter(l, ra.Advertisement{Router: address(1000), Lifetime: time.Hour})
	if _, ok := l.routers[address(1000)]; !ok {
		t.Error("a new one has no place")
	}
}

// TestManyNames has leases with more servers and names than anybody needs.
func TestManyNames(t *testing.T) {
	lease := &dhcp4.Lease{}
	for i := range 300 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		lease.DNS, lease.NTP = append(lease.DNS, a), append(lease.NTP, a)
		lease.Search = append(lease.Search, fmt.Sprintf("d%d.example", i))
	}
	var s netstate.State
	new(daemon).names(&link{lease: lease}, &s)
	if len(s.DNS) != mostNames || len(s.NTP) != mostNames || len(s.Search) != mostNames || s.DNS[0] != lease.DNS[0] {
		t.Errorf("%d name servers, %d time servers and %d domains are used", len(s.DNS), len(s.NTP), len(s.Search))
	}
}

// TestFails has a link that is gone, whose addresses can not be set.
func TestFails(t *testing.T) {
	said := 0
	d := &daemon{failing: map[string]bool{}}
	d.Log = slog.New(slog.NewTextHandler(writer(func(string) { said++ }), nil))
	l := &link{info: info{name: "eth0", index: 1 << 30}, owned: map[netip.Prefix]bool{}, lease: &dhcp4.Lease{Address: netip.MustParsePrefix("10.0.0.7/24")}}
	now := time.Now()
	for range 3 {
		d.again = time.Time{}
		d.setAddresses(l, now)
		if d.again != now.Add(retry) {
			t.Error("it is not tried again")
		}
	}
	if said != 1 {
		t.Errorf("it is said %d times", said)
	}
	if d.fails("setting the addresses of eth0", nil, now) || !d.fails("setting the addresses of eth0", net.ErrClosed, now) || said != 2 {
		t.Errorf("a failure behind a success is said %d times", said-1)
	}
}

// TestStatusFields has a link with a name that the kernel allows.
func TestStatusFields(t *testing.T) {
	name := `e"0=\é`
	d := &daemon{chosen: name, links: map[int]*link{1: {info: info{name: name}}}}
	if fields, ok := stage.ParseFields(d.statusFields()); !ok || !slices.Contains(fields, stage.Field{Key: "link", Value: name}) {
		t.Errorf("the status is %s", d.statusFields())
	}
}

// TestStubbornLinks has links that can not be brought up: they are macvlans with the
// address of what they are on. Each is tried by itself, and told once.
func TestStubbornLinks(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	below, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mac0", "mac1"} {
		attrs := netlink.LinkAttrs{Name: name, ParentIndex: below.Attrs().Index, HardwareAddr: below.Attrs().HardwareAddr}
		if err := netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
			t.Fatal(err)
		}
	}
	tries := make(chan string, 1000)
	l.run(Config{
		Log:      logline.New(writer(func(line string) { tries <- line }), slog.LevelDebug),
		Physical: func(k netlink.Link) bool { return k.Type() == "macvlan" },
	})
	counts := map[string]int{}
	for counts["mac0"] < 3 || counts["mac1"] < 3 {
		line := <-tries
		for _, name := range []string{"mac0", "mac1"} {
			if !strings.Contains(line, "bringing up a link link="+name) {
				continue
			}
			counts[name]++
			if counts[name] > 1 && !strings.HasPrefix(line, "<7>") {
				t.Errorf("try %d is told: %s", counts[name], line)
			}
		}
	}
	if counts["mac0"]+counts["mac1"] > 2*3+2 {
		t.Errorf("one link makes the other one try: %v", counts)
	}
}

// writer has a function take what is written.
type writer func(string)

func (w writer) Write(b []byte) (int, error) {
	w(string(b))
	return len(b), nil
}

// TestUnwritten has a root in which nothing can be written at first.
func TestUnwritten(t *testing.T) {
	root := t.TempDir()
	d := &daemon{Config: Config{Root: root}, failing: map[string]bool{}, chosen: "eth0", etc: etcfiles.Dir(filepath.Join(root, "etc"))}
	d.Log = slog.New(slog.DiscardHandler)
	d.Notify = func(string) {}
	d.links = map[int]*link{1: {info: info{name: "eth0"}, lease: &dhcp4.Lease{DNS: []netip.Addr{netip.MustParseAddr("10.0.0.53")}}}}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(root, netstate.Path)), 0o755); err != nil {
		t.Fatal(err)
	}
	d.publish(true)
	if s, err := netstate.Read(filepath.Join(root, netstate.Path)); err != nil || s.Link != "eth0" {
		t.Errorf("programs are told %+v, %v", s, err)
	}
	if d.again.IsZero() {
		t.Error("it is not tried again")
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.publish(true)
	if b, err := os.ReadFile(filepath.Join(root, "etc/resolv.conf")); err != nil || !strings.Contains(string(b), "nameserver 10.0.0.53") {
		t.Errorf("resolv.conf is %q, %v", b, err)
	}
}

// TestLargeVLAN has a VLAN whose lease has a larger MTU than the card that carries it. A macvlan, which may not have a
// larger one either, stands for it: not every kernel has VLANs.
func TestLargeVLAN(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "10.0.0.1/24")
	card, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	name := vlanName("eth0", 7)
	if err := netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: card.Attrs().Index}, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		t.Fatal(err)
	}
	vlan, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{links: map[int]*link{
		card.Attrs().Index: {info: info{name: "eth0", index: card.Attrs().Index, mtu: 1500}, assignment: assignment{role: parent, vlan: 7}},
		vlan.Attrs().Index: {info: info{name: name, index: vlan.Attrs().Index, mtu: 1500}, lease: &dhcp4.Lease{MTU: 9000}},
	}}
	d.Log = slog.New(slog.NewTextHandler(writer(func(text string) { t.Error(text) }), nil))
	d.setMTU(d.links[vlan.Attrs().Index])
	if vlan, err = netlink.LinkByName(name); err != nil || vlan.Attrs().MTU != 9000 {
		t.Errorf("its MTU is %d, %v", vlan.Attrs().MTU, err)
	}
}
