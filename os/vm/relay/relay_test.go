package relay_test

import (
	"io"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm/relay"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestRelay has a client say something long, and a server answer when it has heard all of it.
func TestRelay(t *testing.T) {
	question, answer := strings.Repeat("question", 100_000), strings.Repeat("answer", 100_000)
	server, front := listen(t), listen(t)
	go func() {
		c, err := server.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if b, err := io.ReadAll(c); err == nil && string(b) == question {
			io.WriteString(c, answer)
		}
	}()
	var r relay.Relay
	go r.Serve(front, server.Addr().String())
	c, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, question)
	c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != answer {
		t.Errorf("%d bytes came back, %v", len(b), err)
	}
	if got := r.Talk(); !reflect.DeepEqual(got, [][]string{{relay.Client, relay.Server}}) {
		t.Errorf("it has heard %q", got)
	}
}

// TestNobody has a server that is not there: clients are told at once.
func TestNobody(t *testing.T) {
	server, front := listen(t), listen(t)
	server.Close()
	var r relay.Relay
	go r.Serve(front, server.Addr().String())
	c, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}
