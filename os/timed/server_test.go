package timed

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// built is the date of the build in tests.
var built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// trueNow is the time by those clocks that are right: now, but never before built,
// whatever the clock of the machine that runs the test says.
func trueNow() time.Time { return built.Add(time.Since(started)).Add(time.Hour) }

var started = time.Now()

// packet is RFC 5905, figure 8.
type packet struct {
	Flags, Stratum                       uint8 // Flags: leap indicator, version, mode
	Poll, Precision                      int8
	RootDelay, RootDispersion            uint32
	ReferenceID                          [4]byte
	Reference, Origin, Receive, Transmit uint64
}

// server is an NTP server, on the loopback interface or at the end of a pipe.
type server struct {
	leap       uint8
	stratum    uint8
	kiss       string        // with stratum 0
	dispersion time.Duration // of its root
	clock      func() time.Time
	silent     int32 // so many questions get no answer

	// Of one that is asked by a pipe:
	delay time.Duration // from a question to the answer
	wrong time.Duration // its clock

	address string
	asked   atomic.Int32
	heard   chan struct{} // gets something when there is a question
}

func (s *server) start(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = conn.LocalAddr().String()
	s.heard = make(chan struct{}, 100)
	if s.clock == nil {
		s.clock = trueNow
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.serve(conn) })
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
	})
	return s.address
}

func (s *server) serve(conn net.PacketConn) {
	buf := make([]byte, 1024)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := s.reply(buf[:n]); reply != nil {
			conn.WriteTo(reply, from) // the client has gone if this fails
		}
	}
}

// pipe gives a connection to the server for one question.
func (s *server) pipe() net.Conn {
	client, conn := net.Pipe()
	go func() {
		defer conn.Close()
		buf := make([]byte, 1024)
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		time.Sleep(s.delay / 2)
		reply := s.reply(buf[:n])
		time.Sleep(s.delay / 2)
		if reply != nil {
			conn.Write(reply)
		}
		conn.Read(buf) // until the client hangs up
	}()
	return client
}

// reply answers a question, nil for nothing.
func (s *server) reply(question []byte) []byte {
	received := s.clock()
	var p packet
	if binary.Read(bytes.NewReader(question), binary.BigEndian, &p) != nil || p.Flags&7 != 3 {
		return nil // not a client
	}
	number := s.asked.Add(1)
	if s.heard != nil {
		s.heard <- struct{}{}
	}
	if number <= s.silent {
		return nil
	}
	reply := packet{
		Flags: s.leap<<6 | 4<<3 | 4, Stratum: s.stratum, Poll: 6, Precision: -20,
		RootDispersion: uint32(s.dispersion * (1 << 16) / time.Second),
		Reference:      timestamp(received.Add(-10 * time.Second)),
		Origin:         p.Transmit, Receive: timestamp(received), Transmit: timestamp(s.clock()),
	}
	copy(reply.ReferenceID[:], s.kiss)
	var out bytes.Buffer
	if binary.Write(&out, binary.BigEndian, reply) != nil {
		return nil
	}
	return out.Bytes()
}

// timestamp is seconds since 1900, and the fraction of a second, in its era.
func timestamp(t time.Time) uint64 {
	const seconds1900to1970 = 2_208_988_800
	return uint64(t.Unix()+seconds1900to1970)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// fakeClock is a clock that may be wrong.
type fakeClock struct {
	mu     sync.Mutex
	offset time.Duration // from the true time
	steps  []time.Duration
	slews  []slew
	err    error // of both
}

type slew struct{ offset, maxError, interval time.Duration }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return trueNow().Add(c.offset)
}

func (c *fakeClock) Step(offset time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += offset
	c.steps = append(c.steps, offset)
	return c.err
}

func (c *fakeClock) Slew(offset, maxError, interval time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slews = append(c.slews, slew{offset, maxError, interval})
	return c.err
}
