package service

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ember-os/ember/os/logline"
	"golang.org/x/sys/unix"
)

const (
	messageLimit = 4096 // bytes of a message; longer ones are dropped
	statusLimit  = 512  // bytes of a STATUS=; the rest is cut off
	extendLimit  = 24 * time.Hour
	messagePause = time.Millisecond // a flood of messages costs no more than this allows
)

// message is what a datagram of sd_notify(3) says, as far as we listen.
type message struct {
	ready, stopping bool
	status          string
	hasStatus       bool
	extend          time.Duration // EXTEND_TIMEOUT_USEC=; 0 for none
	extra           extra         // the last X_EMBER_...=
}

// extra is a variable that is not of sd_notify(3).
type extra struct{ key, value string }

const extraPrefix = "X_EMBER_"

// parseMessage ignores what it does not understand.
func parseMessage(datagram []byte) message {
	var m message
	for line := range bytes.SplitSeq(datagram, []byte("\n")) {
		key, value, _ := strings.Cut(string(line), "=")
		switch key {
		case "READY":
			m.ready = m.ready || value == "1"
		case "STOPPING":
			m.stopping = m.stopping || value == "1"
		case "STATUS":
			m.status, m.hasStatus = short(value), true
		case "EXTEND_TIMEOUT_USEC":
			if n, err := strconv.ParseUint(value, 10, 64); err == nil {
				m.extend = time.Duration(min(n, uint64(extendLimit/time.Microsecond))) * time.Microsecond
			}
		default:
			if strings.HasPrefix(key, extraPrefix) {
				m.extra = extra{short(key), short(value)}
			}
		}
	}
	return m
}

// short makes outside text fit for terminals.
func short(s string) string {
	s = logline.Visible(s)
	return strings.ToValidUTF8(s[:min(len(s), statusLimit)], "")
}

// notifier is the socket that a service tells its state to.
type notifier struct {
	path   string
	socket *os.File
	handle func(message)
	done   chan struct{} // closed when run is over
	closed atomic.Bool
}

// listen makes the socket; run must follow, in a goroutine.
func listen(path string, handle func(message)) (*notifier, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket: %w", err)
	}
	os.Remove(path) // one that was left behind
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("making the socket %s: %w", path, err)
	}
	return &notifier{path: path, socket: os.NewFile(uintptr(fd), path), handle: handle, done: make(chan struct{})}, nil
}

// run handles messages until close.
func (n *notifier) run() {
	defer close(n.done)
	buf := make([]byte, messageLimit+1)
	for {
		size, err := n.socket.Read(buf)
		switch {
		case size > messageLimit || err == io.EOF:
			// Too long, or empty, which os.File takes for the end of a file.
		case err != nil:
			return
		default:
			n.handle(parseMessage(buf[:size]))
		}
		time.Sleep(messagePause)
	}
}

// close handles what was sent up to now, and then removes the socket.
func (n *notifier) close() {
	if n == nil || n.closed.Swap(true) {
		return
	}
	os.Remove(n.path)
	n.socket.SetReadDeadline(time.Unix(1, 0))
	<-n.done
	defer n.socket.Close()
	raw, err := n.socket.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		buf := make([]byte, messageLimit+1)
		for range messageLimit { // more than fit into a socket's queue
			size, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			if size <= messageLimit {
				n.handle(parseMessage(buf[:size]))
			}
		}
	})
}
