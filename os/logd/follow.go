package logd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	idleTime   = time.Second // after which part of a line is taken as it is
	drainLimit = time.Second // for what is left when the daemon ends
	readSize   = 16 << 10    // more than any record of /dev/kmsg
)

// reader takes what is read from a file.
type reader interface {
	add(text []byte)
	gap()          // the file has lost something that was not read
	pending() bool // there is something for idle to take
	idle()         // nothing came for a while
	end()          // nothing comes any more
}

// follow reads a FIFO that is open for writing too, or a device, until ctx ends,
// and then what is still in it.
func follow(ctx context.Context, file *os.File, r reader) error {
	defer file.Close()
	defer r.end()
	defer context.AfterFunc(ctx, func() { file.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, readSize)
	for {
		var deadline time.Time
		if r.pending() {
			deadline = time.Now().Add(idleTime)
		}
		err := file.SetReadDeadline(deadline)
		if ctx.Err() != nil { // looked at behind the deadline, so that this is the last one
			return drain(file, r, buf)
		}
		n := 0
		if err == nil {
			n, err = file.Read(buf)
		}
		switch {
		case err == nil:
			r.add(buf[:n])
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.idle()
		case errors.Is(err, unix.EPIPE):
			r.gap()
		default:
			return fmt.Errorf("following %s: %w", file.Name(), err)
		}
	}
}

// drain reads what is there, without waiting for more.
func drain(file *os.File, r reader, buf []byte) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var readErr error
	err = raw.Control(func(fd uintptr) {
		for end := time.Now().Add(drainLimit); readErr != unix.EAGAIN && time.Now().Before(end); {
			var n int
			n, readErr = unix.Read(int(fd), buf)
			switch readErr {
			case nil:
				r.add(buf[:n])
			case unix.EPIPE:
				r.gap()
			case unix.EAGAIN, unix.EINTR:
			default:
				return
			}
		}
	})
	if readErr == unix.EAGAIN {
		readErr = nil
	}
	if err := errors.Join(err, readErr); err != nil {
		return fmt.Errorf("reading the rest of %s: %w", file.Name(), err)
	}
	return nil
}
