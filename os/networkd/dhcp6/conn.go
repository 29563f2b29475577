package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"golang.org/x/sys/unix"
)

// Conn carries DHCPv6 messages on one link.
type Conn interface {
	Send(message []byte) error // to all servers and relays
	Receive() ([]byte, error)  // waits for a message; fails once the conn is closed or broken
	Close() error
}

// largest is the bytes of a message that is read. The names in a larger one could be
// packed so that unpacking them takes hours.
const largest = 2 << 10

type socket struct {
	net.PacketConn
	servers *net.UDPAddr
	buf     [largest + 1]byte
}

// Open gives the conn of a link. Nothing can be sent before it has a link-local
// address.
func Open(name string) (Conn, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.BindToDevice(int(fd), name))
		})
		return errors.Join(err, set)
	}}
	conn, err := config.ListenPacket(context.Background(), "udp6", fmt.Sprintf("[::]:%d", dhcpv6.DefaultClientPort))
	if err != nil {
		return nil, fmt.Errorf("opening the socket for DHCPv6: %w", err)
	}
	to := &net.UDPAddr{IP: dhcpv6.AllDHCPRelayAgentsAndServers, Port: dhcpv6.DefaultServerPort, Zone: name}
	return &socket{PacketConn: conn, servers: to}, nil
}

func (s *socket) Send(message []byte) error {
	_, err := s.WriteTo(message, s.servers)
	return err
}

func (s *socket) Receive() ([]byte, error) {
	for {
		n, _, err := s.ReadFrom(s.buf[:])
		if err != nil || n <= largest {
			return append([]byte(nil), s.buf[:n]...), err
		}
	}
}
