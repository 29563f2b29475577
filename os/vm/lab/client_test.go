package lab_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/vm"
)

const patience = time.Minute // for what hangs

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// client is a machine's network card and IP stack, as far as the tests need one.
type client struct {
	t    *testing.T
	conn *net.UnixConn
	to   *net.UnixAddr
	mac  net.HardwareAddr
	vlan int

	mu     sync.Mutex
	addr   netip.Addr       // its own, for which it answers ARP
	server net.HardwareAddr // of the sender of the latest frame

	frames    chan []byte // without tag
	datagrams chan datagram
}

type datagram struct {
	port int // the destination's
	data []byte
}

// plugIn puts a client where QEMU would be.
func plugIn(t *testing.T, nic vm.NIC, vlan int) *client {
	t.Helper()
	hardware, err := net.ParseMAC(nic.MAC)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(filepath.Dir(nic.Socket)) // its path may be too long for a socket's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	address := func(path string) *net.UnixAddr {
		return &net.UnixAddr{Net: "unixgram", Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))}
	}
	conn, err := net.ListenUnixgram("unixgram", address(vm.GuestSocket(nic.Socket)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{t: t, conn: conn, to: address(nic.Socket), mac: hardware, vlan: vlan,
		frames: make(chan []byte, 1000), datagrams: make(chan datagram, 1000)}
	go c.read()
	return c
}

func (c *client) read() {
	buf := make([]byte, 1<<16)
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			return
		}
		frame := append([]byte(nil), buf[:n]...)
		if c.vlan != 0 {
			if binary.BigEndian.Uint16(frame[12:]) != 0x8100 || int(binary.BigEndian.Uint16(frame[14:])&0xfff) != c.vlan {
				continue
			}
			frame = append(frame[:12:12], frame[16:]...)
		}
		switch binary.BigEndian.Uint16(frame[12:]) {
		case unix.ETH_P_ARP:
			c.answerARP(frame)
		case unix.ETH_P_IP:
			c.mu.Lock()
			c.server = frame[6:12]
			c.mu.Unlock()
			if packet := frame[14:]; packet[9] == unix.IPPROTO_UDP {
				udp := packet[int(packet[0]&0xf)*4:]
				select {
				case c.datagrams <- datagram{int(binary.BigEndian.Uint16(udp[2:])), udp[8:binary.BigEndian.Uint16(udp[4:])]}:
				default:
				}
			}
		}
		select {
		case c.frames <- frame:
		default:
		}
	}
}

func (c *client) answerARP(frame []byte) {
	const request, reply = 1, 2
	arp := frame[14:]
	c.mu.Lock()
	addr := c.addr
	c.mu.Unlock()
	if binary.BigEndian.Uint16(arp[6:]) != request || !addr.Is4() || netip.AddrFrom4([4]byte(arp[24:28])) != addr {
		return
	}
	answer := append([]byte(nil), arp[:6]...)
	answer = binary.BigEndian.AppendUint16(answer, reply)
	answer = append(append(answer, c.mac...), addr.AsSlice()...)
	c.send(net.HardwareAddr(arp[8:14]), unix.ETH_P_ARP, append(answer, arp[8:18]...))
}

func (c *client) send(to net.HardwareAddr, ethertype uint16, payload []byte) {
	frame := append(append([]byte(nil), to...), c.mac...)
	if c.vlan != 0 {
		frame = binary.BigEndian.AppendUint16(frame, 0x8100)
		frame = binary.BigEndian.AppendUint16(frame, uint16(c.vlan))
	}
	c.raw(append(binary.BigEndian.AppendUint16(frame, ethertype), payload...))
}

func (c *client) raw(frame []byte) {
	if _, err := c.conn.WriteToUnix(frame, c.to); err != nil {
		c.t.Error(err)
	}
}

// udp sends a datagram to the server seen last, or to everyone.
func (c *client) udp(to netip.Addr, from, port int, data []byte) {
	c.mu.Lock()
	source, hardware := c.addr, c.server
	c.mu.Unlock()
	if !source.IsValid() {
		source, hardware = netip.IPv4Unspecified(), broadcast
	}
	be := binary.BigEndian
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	be.PutUint16(ip[2:], uint16(28+len(data)))
	ip = append(append(ip, source.AsSlice()...), to.AsSlice()...)
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(be.Uint16(ip[i:]))
	}
	be.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	ip = be.AppendUint16(ip, uint16(from))
	ip = be.AppendUint16(ip, uint16(port))
	ip = be.AppendUint16(ip, uint16(8+len(data)))
	c.send(hardware, unix.ETH_P_IP, append(append(ip, 0, 0), data...))
}

// ask sends a datagram, again every second, until an answer comes that accept takes.
func (c *client) ask(to netip.Addr, from, port int, data []byte, accept func([]byte) bool) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		c.udp(to, from, port, data)
		again := time.After(time.Second)
	wait:
		for {
			select {
			case d := <-c.datagrams:
				if d.port == from && accept(d.data) {
					return
				}
			case <-again:
				break wait
			case <-deadline:
				c.t.Fatalf("no answer from port %d of %s", port, to)
			}
		}
	}
}

// lease gets an address by DHCP and takes it.
func (c *client) lease() *dhcpv4.DHCPv4 {
	c.t.Helper()
	discover, err := dhcpv4.NewDiscovery(c.mac)
	if err != nil {
		c.t.Fatal(err)
	}
	offer := c.dhcp(discover, dhcpv4.MessageTypeOffer)
	request, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		c.t.Fatal(err)
	}
	ack := c.dhcp(request, dhcpv4.MessageTypeAck)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addr, _ = netip.AddrFromSlice(ack.YourIPAddr.To4())
	return ack
}

func (c *client) dhcp(question *dhcpv4.DHCPv4, want dhcpv4.MessageType) (answer *dhcpv4.DHCPv4) {
	c.t.Helper()
	c.ask(netip.AddrFrom4([4]byte{255, 255, 255, 255}), dhcpv4.ClientPort, dhcpv4.ServerPort, question.ToBytes(), func(b []byte) bool {
		var err error
		answer, err = dhcpv4.FromBytes(b)
		return err == nil && answer.TransactionID == question.TransactionID && answer.MessageType() == want
	})
	return answer
}
