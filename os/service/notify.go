package service

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
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
	mainPID         int           // MAINPID=; 0 for none
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
		case "MAINPID":
			if n, err := strconv.ParseUint(value, 10, 31); err == nil {
				m.mainPID = int(n)
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

// notifier is the socket that a service tells its state to. Every process can write to it; heard are those of root, and
// those that are the service's own.
type notifier struct {
	path   string
	socket *os.File
	raw    syscall.RawConn
	own    func(pid int) bool // whether a process is the service's, as long as it runs
	handle func(message)
	buf    []byte
	done   chan struct{} // closed when run is over
	closed atomic.Bool
}

// listen makes the socket; run must follow, in a goroutine.
func listen(path string, own func(pid int) bool, handle func(message)) (*notifier, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket: %w", err)
	}
	n := &notifier{path: path, socket: os.NewFile(uintptr(fd), path), own: own, handle: handle,
		buf: make([]byte, messageLimit+1), done: make(chan struct{})}
	os.Remove(path) // one that was left behind
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = os.Chmod(path, 0o666)
	}
	if err == nil {
		n.raw, err = n.socket.SyscallConn()
	}
	if err != nil {
		n.socket.Close()
		return nil, fmt.Errorf("making the socket %s: %w", path, err)
	}
	return n, nil
}

// run handles messages until close.
func (n *notifier) run() {
	defer close(n.done)
	for {
		var err error
		closed := n.raw.Read(func(fd uintptr) bool {
			err = n.take(int(fd))
			return err != unix.EAGAIN
		})
		if closed != nil || err != nil {
			return
		}
		time.Sleep(messagePause)
	}
}

// take handles a message if it is to be heard.
func (n *notifier) take(fd int) error {
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred)) // no room for files that somebody may send
	size, controlSize, _, _, err := unix.Recvmsg(fd, n.buf, control, unix.MSG_DONTWAIT)
	if err == nil && size <= messageLimit && n.hears(control[:controlSize]) {
		n.handle(parseMessage(n.buf[:size]))
	}
	return err
}

// hears tells by the kernel's word on who has sent a message whether it counts.
func (n *notifier) hears(control []byte) bool {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		return false
	}
	sender, err := unix.ParseUnixCredentials(&messages[0])
	return err == nil && (sender.Uid == 0 || n.own(int(sender.Pid)))
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
	n.raw.Control(func(fd uintptr) {
		for range messageLimit { // more than fit into a socket's queue
			if n.take(int(fd)) != nil {
				return
			}
		}
	})
}
