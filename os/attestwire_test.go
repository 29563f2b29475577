package os_test

import (
	"io"
	"net"
	"sync"
)

// The two ends of a wire.
const (
	byMachine = "machine"
	byServer  = "server"
)

// wire is a connection as it was seen in between: who said how much, in turns.
type wire struct {
	mu    sync.Mutex
	turns []turn
}

type turn struct {
	who   string
	bytes int
}

// goodbye is what either end of a connection says last: a record of TLS 1.3 with an alert, RFC 8446 section 6.1.
const goodbye = 5 + 2 + 1 + 16

func (w *wire) said(who string, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.turns); n == 0 || w.turns[n-1].who != who {
		w.turns = append(w.turns, turn{who: who})
	}
	w.turns[len(w.turns)-1].bytes += bytes
}

// wires are connections.
type wires struct {
	mu  sync.Mutex
	all []*wire
}

// talk is who said something in each connection, in turns, but for goodbyes.
func (s *wires) talk() (all [][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.all {
		w.mu.Lock()
		var turns []string
		for _, t := range w.turns {
			if t.bytes > goodbye {
				turns = append(turns, t.who)
			}
		}
		w.mu.Unlock()
		all = append(all, turns)
	}
	return all
}

// relay passes connections on to a server, and notes what they say.
func (s *wires) relay(l net.Listener, address string) {
	go func() {
		for {
			machine, err := l.Accept()
			if err != nil {
				return
			}
			go s.pass(machine, address)
		}
	}()
}

func (s *wires) pass(machine net.Conn, address string) {
	defer machine.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	w := &wire{}
	s.mu.Lock()
	s.all = append(s.all, w)
	s.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() {
		w.copy(byMachine, server, machine)
		server.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		w.copy(byServer, machine, server)
		machine.(*net.TCPConn).CloseWrite()
	})
	both.Wait()
}

func (w *wire) copy(who string, to io.Writer, from io.Reader) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			w.said(who, n)
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
