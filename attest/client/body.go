package client

import (
	"bytes"
	"net"
	"sync"
)

// late is the body of a request that is made when it is needed, which is when the connection is there.
type late struct {
	build func() ([]byte, error)

	mu     sync.Mutex // held while it is built
	ready  *bytes.Reader
	err    error
	closed bool
}

func (l *late) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return 0, net.ErrClosed
	case l.err != nil:
		return 0, l.err
	case l.ready == nil:
		var text []byte
		if text, l.err = l.build(); l.err != nil {
			return 0, l.err
		}
		l.ready = bytes.NewReader(text)
	}
	return l.ready.Read(p)
}

// Close waits for build to end.
func (l *late) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

// failure is that of build. The body is closed.
func (l *late) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.err
}
