package lab

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"
	"time"
)

// Bits of an actor's state (IEEE 802.1AX-2020, 6.4.2.3).
const (
	lacpActive = 1 << iota
	lacpShortTimeout
	lacpAggregation
	lacpSynchronised
	lacpCollecting
	lacpDistributing
	lacpDefaulted
	lacpExpired
)

const (
	typeSlow     = 0x8809 // slow protocols
	lacpLen      = 110    // of a LACPDU, without Ethernet header
	lacpInterval = time.Second
	lacpTimeout  = 3 * lacpInterval
)

var slowProtocols = mac{0x01, 0x80, 0xc2, 0, 0, 2}

// actor is one end of a link, as a LACPDU describes it.
type actor struct {
	SystemPriority uint16
	System         mac
	Key            uint16
	PortPriority   uint16
	Port           uint16
	State          uint8
}

// lacpdu is a frame of the Link Aggregation Control Protocol, version 1.
type lacpdu struct {
	Source         mac
	Actor, Partner actor
}

// The TLVs of a LACPDU and where their values begin in it.
const (
	tlvActor, actorAt         = 1, 4
	tlvPartner, partnerAt     = 2, 24
	tlvCollector, collectorAt = 3, 44
	actorTLVLen, collectorLen = 20, 16
)

func isLACP(frame []byte) bool {
	return len(frame) > headerLen && binary.BigEndian.Uint16(frame[typeAt:]) == typeSlow && frame[headerLen] == 1
}

// parseLACP reads a frame that isLACP.
func parseLACP(frame []byte) (lacpdu, error) {
	b := frame[headerLen:]
	switch {
	case len(b) < lacpLen:
		return lacpdu{}, fmt.Errorf("reading LACPDU: %d bytes, want %d", len(b), lacpLen)
	case b[actorAt-2] != tlvActor || b[actorAt-1] != actorTLVLen || b[partnerAt-2] != tlvPartner || b[partnerAt-1] != actorTLVLen:
		return lacpdu{}, fmt.Errorf("reading LACPDU: its TLVs are not those of version 1: % x", b[:partnerAt])
	}
	return lacpdu{src(frame), parseActor(b[actorAt:]), parseActor(b[partnerAt:])}, nil
}

func parseActor(b []byte) actor {
	be := binary.BigEndian
	return actor{be.Uint16(b), mac(b[2:8]), be.Uint16(b[8:]), be.Uint16(b[10:]), be.Uint16(b[12:]), b[14]}
}

// frame is the LACPDU with its Ethernet header.
func (p lacpdu) frame() []byte {
	b := append(slowProtocols[:], p.Source[:]...)
	b = binary.BigEndian.AppendUint16(b, typeSlow)
	b = append(b, 1, 1)
	b = p.Actor.append(append(b, tlvActor, actorTLVLen))
	b = p.Partner.append(append(b, tlvPartner, actorTLVLen))
	b = append(b, tlvCollector, collectorLen)
	return append(b, make([]byte, headerLen+lacpLen-len(b))...)
}

func (a actor) append(b []byte) []byte {
	be := binary.BigEndian
	b = be.AppendUint16(b, a.SystemPriority)
	b = append(b, a.System[:]...)
	for _, n := range []uint16{a.Key, a.PortPriority, a.Port} {
		b = be.AppendUint16(b, n)
	}
	return append(b, a.State, 0, 0, 0)
}

// aggregate is the other side of a machine's 802.3ad bond: one port of a hub
// made of several, the members. It carries nothing but LACPDUs until a machine
// that speaks LACP has put a member in, and loses members that it hears nothing
// of for three seconds.
type aggregate struct {
	system mac
	hub    *hub

	mu      sync.Mutex
	members []*member
}

// member is a port of an aggregate.
type member struct {
	*aggregate
	number uint16
	out    port

	partner actor     // what the other end last said of itself
	heard   time.Time // when
	ours    uint8     // what it last said of our state
}

func (a *aggregate) join(out port) *member {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := &member{aggregate: a, number: uint16(len(a.members) + 1), out: out}
	a.members = append(a.members, m)
	return m
}

// run speaks to the other end until the process ends.
func (a *aggregate) run() {
	for range time.Tick(lacpInterval) {
		a.mu.Lock()
		for _, m := range a.members {
			m.announce()
		}
		a.mu.Unlock()
	}
}

// receive takes a frame that came in at m.
func (m *member) receive(frame []byte) {
	if !isLACP(frame) {
		m.mu.Lock()
		up := m.up()
		m.mu.Unlock()
		if up {
			m.hub.forward(m.aggregate, frame)
		}
		return
	}
	p, err := parseLACP(frame)
	if err != nil {
		return // as a switch does
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.state()
	m.partner, m.heard, m.ours = p.Actor, time.Now(), p.Partner.State
	if after := m.state(); after != before || after != m.ours {
		m.announce()
	}
}

// selected tells whether the other end of m can be in the aggregate: it was
// heard, and it is the same system and key as the first such member's.
func (m *member) selected() bool {
	for _, first := range m.members {
		if time.Since(first.heard) < lacpTimeout && first.partner.State&lacpAggregation != 0 {
			return time.Since(m.heard) < lacpTimeout && m.partner.State&lacpAggregation != 0 &&
				m.partner.System == first.partner.System && m.partner.Key == first.partner.Key
		}
	}
	return false
}

func (m *member) state() uint8 {
	state := uint8(lacpActive | lacpShortTimeout | lacpAggregation)
	if m.selected() {
		state |= lacpSynchronised
		if m.partner.State&lacpSynchronised != 0 {
			state |= lacpCollecting | lacpDistributing
		}
	} else if time.Since(m.heard) >= lacpTimeout {
		state |= lacpDefaulted
	}
	return state
}

// up tells whether m carries frames.
func (m *member) up() bool { return m.state()&lacpDistributing != 0 }

func (m *member) announce() {
	source := m.system
	source[macLen-1] += uint8(m.number)
	m.out.send(lacpdu{
		Source:  source,
		Actor:   actor{SystemPriority: 0xffff, System: m.system, Key: 1, PortPriority: 0xff, Port: m.number, State: m.state()},
		Partner: m.partner,
	}.frame())
}

// send passes a frame to one of the members that are up, the same for the same pair of addresses.
func (a *aggregate) send(frame []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var up []*member
	for _, m := range a.members {
		if m.up() {
			up = append(up, m)
		}
	}
	if len(up) > 0 {
		up[int(crc32.ChecksumIEEE(frame[:typeAt]))%len(up)].out.send(frame)
	}
}
