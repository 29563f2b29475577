package syslog

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/nstest"
	"github.com/vishvananda/netlink"
)

// TestUDPUnreachable begins without any network, goes on with one on which nobody
// has the collector's address, and ends with the collector.
func TestUDPUnreachable(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNET) {
		return
	}
	const address = "192.0.2.2"
	s, log := newSender(t, UDP, &net.UDPAddr{IP: net.ParseIP(address), Port: 514}, "")
	s.numbered(0, 300)
	log.wait(t, "network is unreachable")

	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	setUp(t, "lo", "") // on which the kernel tells itself about neighbours
	setUp(t, "far", "")
	setUp(t, "near", "192.0.2.1/24")
	// What is sent while the kernel looks for the neighbour comes back.
	s.waitQueue(t, func(_, sent int) bool { return sent > 1 })
	s.waitQueue(t, func(unsent, _ int) bool { return unsent == 300 })
	setUp(t, "lo", address+"/32")
	collector := listenUDP(t, address+":514")
	inOrder(t, 0, 300, func() string { return datagram(t, collector) })
}

func setUp(t *testing.T, name, address string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if address != "" {
		addr, err := netlink.ParseAddr(address)
		if err == nil {
			err = netlink.AddrAdd(link, addr)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
}

// waitQueue waits until the queue is in some state.
func (s *Sender) waitQueue(t *testing.T, reached func(unsent, sent int) bool) {
	t.Helper()
	for end := time.Now().Add(limit); !reached(s.queue.waiting()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the queue does not get there")
		}
	}
}
