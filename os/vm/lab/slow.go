package lab

import (
	"encoding/binary"
	"sync"
	"time"
)

// Ports of DHCP (RFC 2131) and DHCPv6 (RFC 9915).
const (
	dhcp4Server, dhcp4Client = 67, 68
	dhcp6Server, dhcp6Client = 547, 546
)

// slowDHCP is a DHCP server that takes its time: what it answers is lost until
// delay has passed since the first request.
type slowDHCP struct {
	delay time.Duration

	mu    sync.Mutex
	first time.Time // of the first request
}

// request looks at a frame on its way to the server.
func (s *slowDHCP) request(frame []byte) {
	if p := udpTo(frame); s.delay == 0 || p != dhcp4Server && p != dhcp6Server {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		s.first = time.Now()
	}
}

// late tells whether a frame is an answer that comes too early, and is to be lost.
func (s *slowDHCP) late(frame []byte) bool {
	if p := udpTo(frame); s.delay == 0 || p != dhcp4Client && p != dhcp6Client {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.first) < s.delay
}

// udpTo returns the destination port of an untagged UDP datagram, 0 of anything else.
func udpTo(frame []byte) int {
	const (
		typeIPv4, typeIPv6 = 0x0800, 0x86dd
		protocolUDP        = 17
		header4, header6   = 20, 40 // bytes, at least
	)
	if len(frame) < headerLen {
		return 0
	}
	packet := frame[headerLen:]
	header := header6
	switch binary.BigEndian.Uint16(frame[typeAt:]) {
	case typeIPv4:
		if len(packet) < header4 || packet[9] != protocolUDP {
			return 0
		}
		header = max(header4, int(packet[0]&0xf)*4)
	case typeIPv6:
		if len(packet) < header || packet[6] != protocolUDP {
			return 0
		}
	default:
		return 0
	}
	if len(packet) < header+4 {
		return 0
	}
	return int(binary.BigEndian.Uint16(packet[header+2:]))
}
