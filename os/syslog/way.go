package syslog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/ember-os/ember/os/netstate"
)

// errUnsettled says that the network daemon has not yet written what a name can be
// looked up with. An earlier attempt would have Go's resolver remember that for 5 s.
var errUnsettled = errors.New("the network is not settled")

// moved is why a session ends although nothing is wrong with it: messages would take
// another way by now.
type moved string

func (m moved) Error() string { return string(m) }

// state is zero as long as nothing is known of the network.
func (s *Sender) state() netstate.State {
	state, _ := netstate.Read(s.network)
	return state
}

// named tells whether the collector is known by a name.
func (s *Sender) named() bool {
	_, err := netip.ParseAddr(s.to.Host)
	return err != nil
}

func (s *Sender) dial(ctx context.Context, network string, control func(string, string, syscall.RawConn) error) (net.Conn, error) {
	if s.named() && !s.state().Settled {
		return nil, errUnsettled
	}
	return (&net.Dialer{Timeout: dialTimeout, Control: control, Resolver: s.resolver}).DialContext(ctx, network, s.to.address())
}

// noNames tells whether a session failed because the machine has, or had until a
// moment ago, no network in which names can be looked up. A name that a server says
// is unknown is none of that.
func (s *Sender) noNames(err error) bool {
	if !s.state().Online {
		s.offline = time.Now()
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && !dns.IsNotFound && time.Since(s.offline) < resolverLag
}

// watch compares a connection with the network, regularly and when that may have
// changed, until a new one would go another way or ctx ends. Began is the link that
// the machine had before.
func (s *Sender) watch(ctx context.Context, conn net.Conn, began string) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.changed:
		case <-time.After(s.look):
		}
		if why := s.otherWay(ctx, conn, began); why != "" {
			return moved(why)
		}
	}
}

// otherWay tells why a new connection would go another way, "" if it would not. A name
// that can not be looked up says nothing, and nor does a route that is missing, which
// the next datagram will meet.
func (s *Sender) otherWay(ctx context.Context, conn net.Conn, began string) string {
	if link := s.state().Link; began != "" && link != began {
		return fmt.Sprintf("the network link is %s, and was %s", cmp.Or(link, "none"), began)
	}
	local, remote := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), conn.RemoteAddr().(*net.UDPAddr).AddrPort().Addr()
	if s.named() {
		addresses, err := s.resolver.LookupNetIP(ctx, "ip", s.to.Host)
		if err == nil && !slices.ContainsFunc(addresses, func(a netip.Addr) bool { return a.Unmap() == remote.Unmap() }) {
			return fmt.Sprintf("%s is %v, and was %v", s.to.Host, addresses, remote)
		}
	}
	probe, err := net.Dial("udp", conn.RemoteAddr().String()) // sends nothing
	if err != nil {
		return ""
	}
	defer probe.Close()
	if source := probe.LocalAddr().(*net.UDPAddr).AddrPort().Addr(); source != local {
		return fmt.Sprintf("the machine's address for it is %v, and was %v", source, local)
	}
	return ""
}
