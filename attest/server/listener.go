package server

import (
	"net"
	"net/netip"
	"sync"
)

// Connections are limits on open connections. Those above are closed at once.
type Connections struct {
	All        int
	PerAddress int            // from an IPv4 address or an IPv6 /64
	Proxies    []netip.Prefix // to which PerAddress does not apply
}

// DefaultConnections bound the memory for requests on a small machine: usualBody for each, besides unusualBodies.
var DefaultConnections = Connections{All: 512, PerAddress: 128}

// Listen limits the connections of l. Refused is told of each that was closed; it may be nil.
func Listen(l net.Listener, c Connections, refused func(netip.Addr)) net.Listener {
	return &listener{Listener: l, limits: c, refused: refused, open: make(map[netip.Prefix]int)}
}

type listener struct {
	net.Listener
	limits  Connections
	refused func(netip.Addr)

	mu   sync.Mutex
	all  int
	open map[netip.Prefix]int
}

// Accept returns the next connection within the limits.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var from netip.Addr
		if a, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
			from = a.Addr().Unmap()
		}
		if l.enter(from) {
			return &connection{Conn: c, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		c.Close()
		if l.refused != nil {
			l.refused(from)
		}
	}
}

func (l *listener) enter(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.limits.All || l.open[site(from)] >= l.limits.PerAddress && !trusted(from, l.limits.Proxies) {
		return false
	}
	l.all++
	l.open[site(from)]++
	return true
}

func (l *listener) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.open[site(from)]--; l.open[site(from)] == 0 {
		delete(l.open, site(from))
	}
}

type connection struct {
	net.Conn
	leave func()
}

func (c *connection) Close() error {
	c.leave()
	return c.Conn.Close()
}
