package ra

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv6"
)

// onLink is the hop limit of a message that no router has passed on.
const onLink = 255

// Socket hears the advertisements on all links.
type Socket struct{ conn *ipv6.PacketConn }

// Listen opens the socket, which takes the privilege of raw sockets.
func Listen() (*Socket, error) {
	c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, fmt.Errorf("opening the socket for router advertisements: %w", err)
	}
	conn := ipv6.NewPacketConn(c)
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterAdvertisement)
	err = errors.Join(conn.SetICMPFilter(&filter), conn.SetControlMessage(ipv6.FlagInterface|ipv6.FlagHopLimit, true))
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("setting up the socket for router advertisements: %w", err)
	}
	return &Socket{conn}, nil
}

// Receive waits for an advertisement and gives it with the index of its link. It
// fails once the socket is closed.
func (s *Socket) Receive() (int, Advertisement, error) {
	buf := make([]byte, 64<<10)
	for {
		n, control, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return 0, Advertisement{}, err
		}
		ip, ok := from.(*net.IPAddr)
		if !ok || control == nil || control.HopLimit != onLink {
			continue
		}
		router, _ := netip.AddrFromSlice(ip.IP)
		if a, err := Parse(buf[:n], router); err == nil {
			return control.IfIndex, a, nil
		}
	}
}

// Solicit asks the routers of a link to advertise now. The kernel does so when it
// has a new link-local address; this is for links that had theirs before.
func (s *Socket) Solicit(link string, index int) error {
	routers := &net.IPAddr{IP: net.IPv6linklocalallrouters, Zone: link}
	_, err := s.conn.WriteTo(append([]byte{solicitation}, make([]byte, 7)...),
		&ipv6.ControlMessage{HopLimit: onLink, IfIndex: index}, routers)
	if err != nil {
		return fmt.Errorf("asking for router advertisements: %w", err)
	}
	return nil
}

// Close ends Receive.
func (s *Socket) Close() error { return s.conn.Close() }
