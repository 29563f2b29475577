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

// What a connection can be over: a limit by its name in the configuration.
const (
	LimitAll     = "connections"
	LimitAddress = "connectionsPerAddress"
)

// DefaultConnections bound the memory for requests on a small machine: usualBody for each, besides unusualBodies.
var DefaultConnections = Connections{All: 512, PerAddress: 128}

// Listen limits the connections of l. Refused is told by Accept of each that was closed, with LimitAll or
// LimitAddress; it may be nil.
func Listen(l net.Listener, c Connections, refused func(limit string, from netip.Addr)) net.Listener {
	return &listener{Listener: l, limits: c, refused: refused, open: make(map[netip.Prefix]int)}
}

type listener struct {
	net.Listener
	limits  Connections
	refused func(limit string, from netip.Addr)

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
		over := l.enter(from)
		if over == "" {
			return &connection{Conn: c, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		c.Close()
		if l.refused != nil {
			l.refused(over, from)
		}
	}
}

// enter counts a connection, or gives the limit that it is over.
func (l *listener) enter(from netip.Addr) (over string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.all >= l.limits.All:
		return LimitAll
	case l.open[site(from)] >= l.limits.PerAddress && !trusted(from, l.limits.Proxies):
		return LimitAddress
	}
	l.all++
	l.open[site(from)]++
	return ""
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
