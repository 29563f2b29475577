package lab

import (
	"encoding/binary"
	"net"
	"sync"
)

// Offsets and lengths of Ethernet frames (IEEE 802.3, 802.1Q).
const (
	macLen    = 6
	typeAt    = 2 * macLen
	headerLen = typeAt + 2
	tagLen    = 4
	typeVLAN  = 0x8100
	maxVLAN   = 4094
	maxFrame  = 64 << 10 // what QEMU sends at most
)

type mac [macLen]byte

func dst(frame []byte) mac { return mac(frame[:macLen]) }
func src(frame []byte) mac { return mac(frame[macLen:typeAt]) }

func (m mac) group() bool { return m[0]&1 != 0 }

// reserved tells whether m is one that bridges forward no frames to (IEEE 802.1Q, table 8-1).
func (m mac) reserved() bool {
	return [macLen - 1]byte(m[:]) == [macLen - 1]byte(slowProtocols[:]) && m[macLen-1] < 0x10
}

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// tag returns a frame's VLAN, 0 for none.
func tag(frame []byte) int {
	if len(frame) < headerLen+tagLen || binary.BigEndian.Uint16(frame[typeAt:]) != typeVLAN {
		return 0
	}
	return int(binary.BigEndian.Uint16(frame[headerLen:]) & 0xfff)
}

// tagged returns the untagged frame with a tag.
func tagged(frame []byte, vlan int) []byte {
	out := make([]byte, 0, len(frame)+tagLen)
	out = append(out, frame[:typeAt]...)
	out = binary.BigEndian.AppendUint16(out, typeVLAN)
	out = binary.BigEndian.AppendUint16(out, uint16(vlan))
	return append(out, frame[typeAt:]...)
}

// untagged returns the tagged frame without its tag.
func untagged(frame []byte) []byte {
	out := make([]byte, 0, len(frame)-tagLen)
	return append(append(out, frame[:typeAt]...), frame[typeAt+tagLen:]...)
}

// port is a place where frames leave a hub. Send must neither block nor keep the frame.
type port interface {
	send(frame []byte)
}

// hub is the switch of a wire: it learns which port has which address and
// forwards to that one, or to all but the one where the frame came from.
type hub struct {
	mu    sync.Mutex
	ports []port
	seen  map[station]port
}

// station is an address in a VLAN; the same one may be elsewhere in another.
type station struct {
	mac  mac
	vlan int
}

func newHub() *hub { return &hub{seen: map[station]port{}} }

func (h *hub) attach(p port) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ports = append(h.ports, p)
}

// forward passes on a frame that came in at from. A frame that is too short, or
// for the next bridge only, is dropped.
func (h *hub) forward(from port, frame []byte) {
	if len(frame) < headerLen || dst(frame).reserved() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	vlan := tag(frame)
	if s := src(frame); !s.group() {
		h.seen[station{s, vlan}] = from
	}
	if to := h.seen[station{dst(frame), vlan}]; to != nil {
		if to != from {
			to.send(frame)
		}
		return
	}
	for _, p := range h.ports {
		if p != from {
			p.send(frame)
		}
	}
}

// segment is the port of a LAN on its wire: to the LAN's own end, whose frames
// have no tags, go those of its VLAN, or those without one.
type segment struct {
	vlan int // 0 for frames without tag
	slow *slowDHCP
	out  func(frame []byte)
}

func (s *segment) send(frame []byte) {
	if tag(frame) != s.vlan {
		return
	}
	if s.vlan != 0 {
		frame = untagged(frame)
	}
	s.slow.request(frame)
	s.out(frame)
}

// receive takes a frame from the LAN's own end to the wire.
func (s *segment) receive(h *hub, frame []byte) {
	if len(frame) < headerLen || s.slow.late(frame) {
		return
	}
	if s.vlan != 0 {
		frame = tagged(frame, s.vlan)
	}
	h.forward(s, frame)
}
