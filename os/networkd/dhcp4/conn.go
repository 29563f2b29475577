package dhcp4

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// Conn carries DHCP messages on one link.
type Conn interface {
	Broadcast(message []byte) error
	Unicast(to netip.Addr, message []byte) error
	Receive() ([]byte, error) // waits for a message; fails once the conn is closed or broken
	Close() error
}

// socket is a conn of two sockets: a packet socket, because the link has no
// address yet, and a UDP socket for unicast, which has the kernel find the way. The
// latter receives nothing, but without it the kernel would answer that nobody
// listens.
type socket struct {
	packet *packet.Conn
	udp    net.PacketConn
	buf    [64 << 10]byte
}

// Open gives the conn of a link, which may be down for now.
func Open(name string, index int) (Conn, error) {
	raw, err := packet.Listen(&net.Interface{Index: index, Name: name}, packet.Datagram, unix.ETH_P_IP, &packet.Config{Filter: filter()})
	if err != nil {
		return nil, fmt.Errorf("opening the packet socket for DHCP: %w", err)
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var errs []error
		err := c.Control(func(fd uintptr) {
			errs = append(errs, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 0), // the least there is
				unix.BindToDevice(int(fd), name))
		})
		return errors.Join(append(errs, err)...)
	}}
	udp, err := config.ListenPacket(context.Background(), "udp4", fmt.Sprintf(":%d", clientPort))
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("opening the UDP socket for DHCP: %w", err)
	}
	return &socket{packet: raw, udp: udp}, nil
}

func (s *socket) Broadcast(message []byte) error {
	everyone := &packet.Addr{HardwareAddr: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	_, err := s.packet.WriteTo(broadcastFrame(message), everyone)
	return err
}

func (s *socket) Unicast(to netip.Addr, message []byte) error {
	_, err := s.udp.WriteTo(message, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, serverPort)))
	return err
}

func (s *socket) Receive() ([]byte, error) {
	for {
		n, _, err := s.packet.ReadFrom(s.buf[:])
		if errors.Is(err, unix.ENETDOWN) {
			continue // told once; it works again when the link is up
		}
		if err != nil {
			return nil, err
		}
		if message, ok := payload(s.buf[:n]); ok {
			return append([]byte(nil), message...), nil
		}
	}
}

func (s *socket) Close() error {
	return errors.Join(s.packet.Close(), s.udp.Close())
}
