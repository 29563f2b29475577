package syslog

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/nstest"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
)

const name = "logs.example"

var online = netstate.State{Settled: true, Online: true, Link: "eth0"}

func (s *Sender) writeState(t *testing.T, state netstate.State) {
	t.Helper()
	if err := state.Write(s.network); err != nil {
		t.Fatal(err)
	}
}

// names is a name server that knows the collector.
type names struct {
	address atomic.Value // netip.Addr
	asked   atomic.Int64
	absent  atomic.Bool // there is no way to the server
}

// newNames has a sender look for its collector by name. Without an address the server
// fails.
func newNames(t *testing.T, s *Sender, address string) *names {
	t.Helper()
	n := new(names)
	n.set(address)
	l := listenUDP(t, "127.0.0.1:0")
	go func() {
		buf := make([]byte, 1500)
		for {
			length, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := n.answer(buf[:length]); err == nil {
				l.WriteTo(answer, from)
			}
		}
	}()
	s.to.Host = name
	s.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if n.absent.Load() {
			n.asked.Add(1)
			return nil, errors.New("no name server")
		}
		return new(net.Dialer).DialContext(ctx, "udp", l.LocalAddr().String())
	}}
	return n
}

func (n *names) set(address string) {
	a, _ := netip.ParseAddr(address)
	n.address.Store(a)
}

func (n *names) answer(query []byte) ([]byte, error) {
	n.asked.Add(1)
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	q := m.Questions[0]
	address := n.address.Load().(netip.Addr)
	switch {
	case !address.IsValid():
		m.RCode = dnsmessage.RCodeServerFailure
	case q.Name.String() != name+".":
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: address.As4()}}}
	}
	return m.Pack()
}

// waitAsked waits until the server was asked some more.
func (n *names) waitAsked(t *testing.T) {
	t.Helper()
	const enough = 8 // by two attempts, with one server in resolv.conf
	begun := n.asked.Load()
	for end := time.Now().Add(limit); n.asked.Load() < begun+enough; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the name server is not asked")
		}
	}
}

// TestUDPMoves has a collector that moves while the old one takes everything in silence.
func TestUDPMoves(t *testing.T) {
	t.Parallel()
	old := listenUDP(t, "127.0.0.1:0")
	port := strconv.Itoa(old.LocalAddr().(*net.UDPAddr).Port)
	current := listenUDP(t, "127.0.0.2:"+port)
	s, log := prepare(t, UDP, old.LocalAddr(), "")
	n := newNames(t, s, "127.0.0.1")
	s.writeState(t, online)
	s.look = time.Millisecond
	s.start(t)
	s.numbered(0, 10)
	inOrder(t, 0, 10, func() string { return datagram(t, old) })

	n.set("") // which says nothing about the collector
	n.waitAsked(t)
	s.numbered(10, 20)
	inOrder(t, 10, 20, func() string { return datagram(t, old) })
	if log.String() != "" {
		t.Errorf("logged %q", log)
	}

	n.set("127.0.0.2")
	log.wait(t, "logs.example is [127.0.0.2], and was 127.0.0.1")
	s.numbered(20, 30)
	inOrder(t, 20, 30, func() string { return datagram(t, current) })
	if strings.Contains(log.String(), "<4>") {
		t.Errorf("logged %q", log)
	}
}

// TestUDPFailover has a machine whose way to the collector changes, while its old
// address stays.
func TestUDPFailover(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNET) {
		return
	}
	const address = "203.0.113.9"
	link := func(name, address string) {
		t.Helper()
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "far-" + name}
		if err := errors.Join(netlink.LinkAdd(pair), netlink.LinkSetARPOff(pair)); err != nil { // takes everything in silence
			t.Fatal(err)
		}
		setUp(t, pair.PeerName, "")
		setUp(t, name, address)
	}
	route := func(name string) {
		t.Helper()
		link, err := netlink.LinkByName(name)
		if err == nil {
			_, to, _ := net.ParseCIDR(address + "/32")
			err = netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: to})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	link("eth0", "192.0.2.1/24")
	link("eth1", "198.51.100.1/24")
	route("eth0")
	s, log := prepare(t, UDP, &net.UDPAddr{IP: net.ParseIP(address), Port: 514}, "")
	s.writeState(t, online)
	s.start(t)
	s.numbered(0, 1)
	s.waitQueue(t, func(_, sent int) bool { return sent == 1 })

	route("eth1")
	s.writeState(t, online)
	log.wait(t, "the machine's address for it is 198.51.100.1, and was 192.0.2.1")
	s.waitQueue(t, func(_, sent int) bool { return sent == 1 })
	other := online
	other.Link = "eth1"
	s.writeState(t, other)
	log.wait(t, "the network link is eth1, and was eth0")
}

// TestNameBeforeNetwork has a machine that gets its network late.
func TestNameBeforeNetwork(t *testing.T) {
	t.Parallel()
	collector := listenUDP(t, "127.0.0.1:0")
	s, log := prepare(t, UDP, collector.LocalAddr(), "")
	n := newNames(t, s, "127.0.0.1")
	n.absent.Store(true)
	s.start(t)
	s.numbered(0, 10)
	log.wait(t, "wait in memory for a network")
	if n.asked.Load() > 0 {
		t.Error("the name is looked up before there is a name server")
	}

	s.writeState(t, netstate.State{Settled: true})
	n.waitAsked(t)
	s.writeState(t, online)
	n.waitAsked(t) // as does Go's resolver with an old resolv.conf
	n.absent.Store(false)
	inOrder(t, 0, 10, func() string { return datagram(t, collector) })
	if got := log.String(); strings.Count(got, "\n") != 1 {
		t.Errorf("logged %q", got)
	}
}

// TestNameNotFound has name servers that are to blame, for which the machine need not
// be online.
func TestNameNotFound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		host   string
		server string // what it says of the collector
		state  netstate.State
	}{
		{"other.example", "127.0.0.1", netstate.State{Settled: true}},
		{name, "", online},
	} {
		s, log := prepare(t, UDP, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 514}, "")
		newNames(t, s, test.server)
		s.to.Host = test.host
		s.writeState(t, test.state)
		s.start(t)
		log.wait(t, "can not be reached")
	}
}
