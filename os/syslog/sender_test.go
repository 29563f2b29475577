package syslog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ember-os/ember/os/logline"
)

const limit = 30 * time.Second // for whatever a test waits for

// logged is a log that can be waited for.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) wait(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(limit); !strings.Contains(l.String(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q is never logged, but %q", want, l)
		}
	}
}

// newSender runs a sender for the length of the test.
func newSender(t *testing.T, transport string, addr net.Addr, roots string) (*Sender, *logged) {
	t.Helper()
	s, log := prepare(t, transport, addr, roots)
	s.start(t)
	return s, log
}

// prepare makes a sender on a machine without a network.
func prepare(t *testing.T, transport string, addr net.Addr, roots string) (*Sender, *logged) {
	t.Helper()
	log := new(logged)
	host, service, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Collector{host, port, transport}, func() string { return "node7" }, logline.New(log, slog.LevelInfo))
	s.roots, s.network = roots, filepath.Join(t.TempDir(), "network.json")
	return s, log
}

func (s *Sender) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() { defer close(ended); s.Run(ctx) }()
}

// numbered queues messages whose texts are numbers.
func (s *Sender) numbered(from, to int) {
	for i := from; i < to; i++ {
		s.Send(line(fmt.Sprint(i)))
	}
}

// inOrder gets numbers from "from" up to before "to". Numbers may come again
// together with all that followed them, but none may be left out.
func inOrder(t *testing.T, from, to int, next func() string) {
	t.Helper()
	for want := from; want < to; {
		var n int
		if _, err := fmt.Sscan(next(), &n); err != nil || n > want {
			t.Fatalf("got %d, %v, want %d", n, err, want)
		}
		want = n + 1
	}
}

func listenUDP(t *testing.T, address string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn)
}

// datagram gives the text of the next datagram.
func datagram(t *testing.T, conn *net.UDPConn) string {
	t.Helper()
	buf := make([]byte, 64<<10)
	conn.SetReadDeadline(time.Now().Add(limit))
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	m, _, host, _ := read(t, buf[:n])
	if host != "node7" || m.Facility != Daemon {
		t.Errorf("got %q", buf[:n])
	}
	return m.Text
}

// TestUDP has a collector that comes up late, goes away and comes again.
func TestUDP(t *testing.T) {
	t.Parallel()
	collector := listenUDP(t, "127.0.0.1:0")
	address := collector.LocalAddr()
	collector.Close()
	s, log := newSender(t, UDP, address, "")
	arrived := make(chan string, 300)
	s.Arrived = func(m Message) { arrived <- m.Text }
	s.numbered(0, 300)
	log.wait(t, "can not be reached")

	collector = listenUDP(t, address.String())
	inOrder(t, 0, 300, func() string { return datagram(t, collector) })
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	log.wait(t, "can be reached ")
	for i := range 300 {
		if got := <-arrived; got != fmt.Sprint(i) {
			t.Errorf("%s arrived, want %d", got, i)
		}
	}
	collector.Close()
	s.numbered(300, 310)

	collector = listenUDP(t, address.String())
	s.numbered(310, 320)
	inOrder(t, 300, 320, func() string { return datagram(t, collector) })
}

// TestUDPWithoutRoute sends to an address that nothing can reach, which the kernel
// tells in its own ways.
func TestUDPWithoutRoute(t *testing.T) {
	t.Parallel()
	collector := listenUDP(t, "127.0.0.1:0")
	s, log := newSender(t, UDP, collector.LocalAddr(), "")
	s.numbered(0, 1)
	datagram(t, collector)
	if log.String() != "" {
		t.Errorf("logged %q", log)
	}

	lost := New(Collector{"240.0.0.1", 514, UDP}, func() string { return "" }, logline.New(log, slog.LevelInfo))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go lost.Run(ctx)
	lost.numbered(0, 1)
	log.wait(t, "wait in memory")
}

func TestFlushGivesUp(t *testing.T) {
	s := New(Collector{"127.0.0.1", 514, UDP}, func() string { return "" }, slog.Default())
	s.numbered(0, 3)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Flush(ended); err == nil || !strings.Contains(err.Error(), "3 are left") {
		t.Error(err)
	}
}

// TestUDPQueueFull counts what does not fit while there is no collector.
func TestUDPQueueFull(t *testing.T) {
	t.Parallel()
	collector := listenUDP(t, "127.0.0.1:0")
	address := collector.LocalAddr()
	collector.Close()
	s, log := newSender(t, UDP, address, "")
	s.queue.mu.Lock()
	s.queue.limit = 100 * (overhead + len("a000"))
	s.queue.mu.Unlock()
	for i := range 300 {
		s.Send(line(fmt.Sprintf("%03d", i)))
	}
	log.wait(t, "can not be reached")
	collector = listenUDP(t, address.String())
	got := datagram(t, collector)
	for got == "000" || strings.HasPrefix(got, "2") { // a probe may have come before the queue was full
		got = datagram(t, collector)
	}
	if got != "messages lost here: 200, since more than 12 KiB waited for the collector" {
		t.Errorf("got %q", got)
	}
	inOrder(t, 200, 300, func() string { return datagram(t, collector) })
}

func TestDefaults(t *testing.T) {
	before := time.Now()
	start, _ := clock()
	if start.After(before) || before.Sub(start) < time.Millisecond {
		t.Errorf("the kernel started at %v", start)
	}
	s := New(Collector{"::1", 6514, TLS}, func() string { return "" }, slog.Default())
	if s.to.address() != "[::1]:6514" {
		t.Error(s.to.address())
	}
}
