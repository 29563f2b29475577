// Package relay passes connections on to a server that is in another network, and knows who said how much on each.
package relay

import (
	"net"
	"sync"
)

// The two ends of a connection.
const (
	Client = "client"
	Server = "server"
)

// goodbye is what either end of a connection says last: a record of TLS 1.3 with an alert, RFC 8446 section 6.1.
const goodbye = 5 + 2 + 1 + 16

// Relay is one. The zero Relay can be used.
type Relay struct {
	mu  sync.Mutex
	all []*wire
}

// wire is a connection as it was seen in between: who said how much, in turns.
type wire struct {
	mu    sync.Mutex
	turns []turn
}

type turn struct {
	who   string
	bytes int
}

func (w *wire) said(who string, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.turns); n == 0 || w.turns[n-1].who != who {
		w.turns = append(w.turns, turn{who: who})
	}
	w.turns[len(w.turns)-1].bytes += bytes
}

// Talk is who said something in each connection, in turns, but for goodbyes.
func (r *Relay) Talk() (all [][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.all {
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

// Serve passes connections on to the server at an address, until the listener is closed. Where that does not answer,
// they are closed.
func (r *Relay) Serve(l net.Listener, address string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go r.pass(client, address)
	}
}

func (r *Relay) pass(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	w := &wire{}
	r.mu.Lock()
	r.all = append(r.all, w)
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { w.copy(Client, server, client) })
	both.Go(func() { w.copy(Server, client, server) })
	both.Wait()
}

// copy passes on what one end says, and that it says no more.
func (w *wire) copy(who string, to, from net.Conn) {
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
			to.(interface{ CloseWrite() error }).CloseWrite()
			return
		}
	}
}
