package networkd

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/networkd/dhcp4"
	"github.com/ember-os/ember/os/networkd/dhcp6"
	"github.com/ember-os/ember/os/networkd/ra"
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
