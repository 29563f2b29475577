package dhcp6

import (
	"bytes"
	"net"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// TestLargest sends a message that is too large and one that is not.
func TestLargest(t *testing.T) {
	conn, err := net.ListenPacket("udp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{PacketConn: conn}
	defer s.Close()
	for _, size := range []int{largest + 1, 16 << 10, largest} {
		if _, err := conn.WriteTo(make([]byte, size), conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := s.Receive(); err != nil || len(b) != largest {
		t.Errorf("a message of %d bytes is received, %v", len(b), err)
	}
}

// TestReplyToOthers has a message of another exchange, whose names would take hours.
func TestReplyToOthers(t *testing.T) {
	names := bytes.Repeat([]byte{1, 'a'}, 16<<10)
	names = append(append(names, 0), bytes.Repeat([]byte{0xc0, 0}, 14<<10)...)
	b := append([]byte{byte(dhcpv6.MessageTypeReply), 1, 2, 3, 0, byte(dhcpv6.OptionDomainSearchList), byte(len(names) >> 8), byte(len(names))}, names...)
	if _, ok := (&Client{}).reply(b); ok {
		t.Error("it is an answer")
	}
}
