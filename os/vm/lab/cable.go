package lab

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/vm"
)

// cableQueue is how many frames wait for a machine that reads slowly; then they are lost.
const cableQueue = 1024

// cable is the port that a machine's NIC is plugged into.
type cable struct {
	conn   *net.UnixConn
	queue  chan []byte
	source func(frame []byte) // takes frames from the machine
}

// plug makes the socket at path.
func plug(path string) (*cable, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	c := &cable{conn: conn, queue: make(chan []byte, cableQueue)}
	go c.write(vm.GuestSocket(path))
	return c, nil
}

func (c *cable) send(frame []byte) {
	select {
	case c.queue <- append([]byte(nil), frame...):
	default:
	}
}

// write sends what is queued. It blocks in the kernel while the machine's
// socket is full, which the runtime's poller cannot wait for: sendto(2) on a
// socket without a peer is always said to be possible. Frames for a machine
// that is not there are lost.
func (c *cable) write(guest string) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(fmt.Errorf("making a socket to send frames from: %w", err))
	}
	to := &unix.SockaddrUnix{Name: guest}
	for frame := range c.queue {
		for unix.Sendto(fd, frame, 0, to) == unix.EINTR {
		}
	}
}

func (c *cable) read() {
	buf := make([]byte, maxFrame)
	for {
		n, _, err := c.conn.ReadFromUnix(buf)
		if err != nil {
			return
		}
		if n >= headerLen {
			c.source(buf[:n])
		}
	}
}
