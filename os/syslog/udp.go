package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// window is how long before an error what was sent counts as lost. The kernel
	// looks for a neighbour for 3 s before it says that there is none.
	window = 5 * time.Second
	// hold is how long the first datagram waits for an error.
	hold = 200 * time.Millisecond
	// A burst of datagrams is followed by a pause, so that a collector with a small
	// buffer can follow: at most 3,200 in a second.
	burst      = 64
	burstPause = 20 * time.Millisecond
)

// datagrams is a session over UDP, up to the first error, or until messages would go
// another way.
func (s *Sender) datagrams(ctx context.Context) error {
	link := s.state().Link
	conn, err := s.dial(ctx, "udp", receiveErrors)
	if err != nil {
		return err
	}
	defer conn.Close()
	var watching sync.WaitGroup
	defer watching.Wait() // who looks at the network next is somebody else
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // also while a write waits for a neighbour
	failed := make(chan error, 2)
	watching.Go(func() { failed <- s.watch(ctx, conn, link) })
	go func() { failed <- waitForError(conn.(*net.UDPConn)) }()
	for count := 1; ; {
		s.arrived(func(i *item) bool { return time.Since(i.at) > window })
		var again <-chan time.Time
		var news <-chan struct{}
		if i := s.queue.next(); i != nil {
			i.at = time.Now()
			if err := put(ctx, conn, s.format(i.Message, datagramLimit)); err != nil {
				return err
			}
			again = time.After(pauseAfter(count))
			count++
		} else {
			news = s.queue.news
			if _, sent := s.queue.waiting(); sent > 0 {
				again = time.After(window)
			}
		}
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		case <-again:
		}
	}
}

// put waits while the network card has no room.
func put(ctx context.Context, conn net.Conn, msg []byte) error {
	for {
		_, err := conn.Write(msg)
		if !errors.Is(err, unix.ENOBUFS) || ctx.Err() != nil {
			return err
		}
		time.Sleep(burstPause)
	}
}

// pauseAfter is the time that follows the n-th datagram of a session.
func pauseAfter(n int) time.Duration {
	switch {
	case n == 1:
		return hold
	case n%burst == 0:
		return burstPause
	}
	return 0
}

// receiveErrors has the kernel report ICMP errors that are not final, too, such as
// that a host can not be reached; see IP_RECVERR in ip(7).
func receiveErrors(network, _ string, raw syscall.RawConn) error {
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if network == "udp6" {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	var err error
	return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }), err)
}

// waitForError waits for the first error that a datagram met. Collectors do not
// answer; what comes nevertheless is thrown away.
func waitForError(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Read(func(fd uintptr) bool {
		failure = nextError(int(fd))
		return failure != nil
	})
	return fmt.Errorf("reading from %v: %w", conn.RemoteAddr(), errors.Join(failure, err))
}

// nextError gives nil if there is no error yet.
func nextError(fd int) error {
	buf, oob := make([]byte, datagramLimit), make([]byte, 512)
	for {
		_, n, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err == nil {
			return reported(oob[:n])
		}
		_, _, err = unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		switch err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			return nil
		default:
			return os.NewSyscallError("recvfrom", err)
		}
	}
}

// reported is the error in a message from the error queue.
func reported(oob []byte) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		if len(m.Data) >= int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			return unix.Errno((*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0])).Errno)
		}
	}
	return errors.Join(errors.New("a datagram was refused"), err)
}
