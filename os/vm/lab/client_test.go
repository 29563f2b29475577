package lab

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

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// client is a machine's network card and IP stack, as far as the tests need one.
type client struct {
	t      *testing.T
	cables []cableEnd // it sends on the first
	mac    net.HardwareAddr
	vlan   int

	mu     sync.Mutex
	addr   netip.Addr       // its own, for which it answers ARP
	server net.HardwareAddr // of the sender of the latest frame

	datagrams chan datagram
}

// cableEnd is a cable's end, where QEMU would be.
type cableEnd struct {
	*net.UnixConn
	to   *net.UnixAddr
	pdus chan lacpdu // that came
}

type datagram struct {
	port int // the destination's
	data []byte
}

// plugIn makes a client with the first card's address and a cable for each.
func plugIn(t *testing.T, vlan int, nics ...vm.NIC) *client {
	t.Helper()
	hardware, err := net.ParseMAC(nics[0].MAC)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, mac: hardware, vlan: vlan, datagrams: make(chan datagram, 1000)}
	for _, nic := range nics {
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
		c.cables = append(c.cables, cableEnd{conn, address(nic.Socket), make(chan lacpdu, 1000)})
	}
	for _, p := range c.cables {
		go c.read(p)
	}
	return c
}

func (c *client) read(p cableEnd) {
	buf := make([]byte, maxFrame)
	for {
		n, err := p.Read(buf)
		if err != nil {
			return
		}
		frame := append([]byte(nil), buf[:n]...)
		if isLACP(frame) {
			if pdu, err := parseLACP(frame); err != nil {
				c.t.Error(err)
			} else {
				p.pdus <- pdu
			}
			continue
		}
		if tag(frame) != c.vlan {
			continue
		} else if c.vlan != 0 {
			frame = untagged(frame)
		}
		switch binary.BigEndian.Uint16(frame[typeAt:]) {
		case unix.ETH_P_ARP:
			c.answerARP(frame)
		case unix.ETH_P_IP:
			c.mu.Lock()
			c.server = frame[6:12]
			c.mu.Unlock()
			if packet := frame[headerLen:]; packet[9] == unix.IPPROTO_UDP {
				udp := packet[int(packet[0]&0xf)*4:]
				select {
				case c.datagrams <- datagram{int(binary.BigEndian.Uint16(udp[2:])), udp[8:binary.BigEndian.Uint16(udp[4:])]}:
				default:
				}
			}
		}
	}
}

// bond speaks LACP on all cables until the test ends, and returns when all are aggregated.
func (c *client) bond() {
	c.t.Helper()
	const up = lacpSynchronised | lacpCollecting | lacpDistributing
	for i, p := range c.cables {
		go func() {
			for c.t.Context().Err() == nil {
				p.WriteToUnix(bond(1, uint16(i+1), up), p.to)
				time.Sleep(lacpInterval / 10)
			}
		}()
	}
	deadline := time.After(patience)
	for i, p := range c.cables {
		for done := false; !done; {
			select {
			case pdu := <-p.pdus:
				done = pdu.Actor.State&up == up && pdu.Partner.Port == uint16(i+1)
			case <-deadline:
				c.t.Fatalf("cable %d is not aggregated", i)
			}
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
	frame = append(binary.BigEndian.AppendUint16(frame, ethertype), payload...)
	if c.vlan != 0 {
		frame = tagged(frame, c.vlan)
	}
	if _, err := c.cables[0].WriteToUnix(frame, c.cables[0].to); err != nil {
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
