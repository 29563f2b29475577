package syslog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// patience is how long the collector's kernel may take to acknowledge.
	patience = 30 * time.Second
	// ackPause is how often the kernel is asked whether it did.
	ackPause = 50 * time.Millisecond
)

// connection is a TCP connection that knows what has arrived. Both counts include
// what TLS adds.
type connection struct {
	*net.TCPConn
	written atomic.Uint64
	before  uint64 // what the kernel counts as acknowledged without any of ours
}

func (c *connection) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.written.Add(uint64(n))
	return n, err
}

// acknowledged is how many bytes have arrived, see RFC 4898,
// tcpEStatsAppHCThruOctetsAcked.
func (c *connection) acknowledged() uint64 {
	var info *unix.TCPInfo
	var infoErr error
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	}
	if err != nil || infoErr != nil {
		return 0 // closed: what is not known to have arrived is sent again
	}
	return info.Bytes_acked - c.before
}

// stream is a session over TCP or TLS, up to the first error.
func (s *Sender) stream(ctx context.Context) error {
	c, conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	failed := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		failed <- errors.Join(errors.New("the collector closed the connection"), err)
	}()
	var confirmed time.Time
	confirm := func() {
		n := c.acknowledged()
		s.arrived(func(i *item) bool { return i.end <= n })
		confirmed = time.Now()
	}
	defer confirm()
	for {
		var again <-chan time.Time
		if time.Since(confirmed) > ackPause { // also while there is always more to send
			confirm()
		}
		if i := s.queue.next(); i != nil {
			// Marked as not arrived, whatever an earlier connection has left there.
			i.end = ^uint64(0)
			msg := s.format(i.Message, streamLimit)
			conn.SetWriteDeadline(time.Now().Add(patience))
			if _, err := conn.Write(append(fmt.Appendf(nil, "%d ", len(msg)), msg...)); err != nil {
				return err
			}
			i.end = c.written.Load()
			select {
			case err := <-failed:
				return err
			default:
			}
			continue
		}
		confirm()
		if _, sent := s.queue.waiting(); sent > 0 {
			again = time.After(ackPause)
		}
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-s.queue.news:
		case <-again:
		}
	}
}

// connect gives the TCP connection and, if they differ, the TLS one over it.
func (s *Sender) connect(ctx context.Context) (*connection, net.Conn, error) {
	dialed, err := s.dial(ctx, "tcp", giveUp)
	if err != nil {
		return nil, nil, err
	}
	c := &connection{TCPConn: dialed.(*net.TCPConn)}
	c.before = c.acknowledged()
	if s.to.Transport == TCP {
		return c, c, nil
	}
	roots, err := s.readRoots()
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	conn := tls.Client(c, &tls.Config{ServerName: s.to.Host, RootCAs: roots})
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		c.Close()
		if _, other := errors.AsType[x509.HostnameError](err); other {
			err = fmt.Errorf("%w: syslog_host has to be a name or an address for which the collector has its certificate", err)
		}
		return nil, nil, fmt.Errorf("greeting %s by TLS: %w", s.to.address(), err)
	}
	return c, conn, nil
}

// giveUp ends a connection to a collector that does not acknowledge any more.
func giveUp(_, _ string, raw syscall.RawConn) error {
	var err error
	return errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(patience/time.Millisecond))
	}), err)
}
