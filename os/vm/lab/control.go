package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// request is what a program asks of its lab: one message on a SOCK_SEQPACKET
// socket, which an answer follows. Of its groups of fields one is set.
type request struct {
	Config *Config `json:",omitempty"` // the first one

	Plug  string `json:",omitempty"` // a wire
	Cable string `json:",omitempty"` // the socket's name

	SetDHCP string `json:",omitempty"` // a LAN
	Lines   string `json:",omitempty"`
	Start   Server `json:",omitempty"`
	Stop    Server `json:",omitempty"`

	Listen       string `json:",omitempty"` // a network, as the next two; the answer brings the socket
	ListenPacket string `json:",omitempty"`
	Dial         string `json:",omitempty"`
	Address      string `json:",omitempty"`
}

type answer struct {
	Error string
}

const maxMessage = 64 << 10

// send sends a message, and with it f, unless that is nil.
func send(c *net.UnixConn, message any, f *os.File) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return fmt.Errorf("the message has %d bytes, more than %d", len(b), maxMessage)
	}
	var rights []byte
	if f != nil {
		rights = unix.UnixRights(int(f.Fd()))
	}
	_, _, err = c.WriteMsgUnix(b, rights, nil)
	return err
}

// receive receives a message, and the file that came with it, or nil.
func receive(c *net.UnixConn, message any) (*os.File, error) {
	b, control := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4))
	n, rights, _, _, err := c.ReadMsgUnix(b, control)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	var f *os.File
	if rights > 0 {
		messages, err := unix.ParseSocketControlMessage(control[:rights])
		if err != nil {
			return nil, err
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			return nil, err
		}
		f = os.NewFile(uintptr(fds[0]), "socket")
	}
	return f, json.Unmarshal(b[:n], message)
}

// unixConn takes over f.
func unixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}
