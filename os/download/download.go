// Package download reads what is at a URL of http or https, in as many connections as it takes.
//
// A connection that breaks, or that brings nothing for Stall, is followed by one that goes on where it broke, after a
// pause that grows (RFC 9110, 14, ranges). A server without ranges is read from the beginning again, and what is there
// already passed over. What was exchanged meanwhile is not put together with what came before: by its strong entity
// tag, if it has one (If-Range; RFC 9110, 13.1.5), and by its size.
//
// Read's error is of one of two kinds. Unanswered: the network, or a server that says to come again, several times in
// a row; or that it was exchanged. Another try, from the beginning, may bring it. Refused: the server says no, or has
// something else; another try may not. Neither has the URL in it, which may be as good as a password.
//
// Only sizes that the server names are compared. Whether it is the right thing is for who reads it to check: everybody
// who uses this package knows a digest, by which that needs no trust in the server.
package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Stall is how long a connection may bring nothing, while it is read from, before it counts as broken.
const Stall = 30 * time.Second

const (
	maxBroken  = 5           // connections in a row that bring nothing
	firstPause = time.Second // half of that before the second connection; twice as long with each
)

// Source is where something is, and how to ask for it.
type Source struct {
	Client *http.Client
	URL    *url.URL
	Name   string // what it is, for errors: "the overlay"
	Size   int64  // in bytes; 0 if it is not known
	// Authorize is asked for the field Authorization when the server wants one, with its challenge (RFC 9110, 11.6);
	// nil if there is nobody to ask. Its error is of one of the two kinds, or else taken for an Unanswered.
	Authorize func(ctx context.Context, challenge string) (string, error)
}

// Unanswered is an error of the network, of a server that says to come again, or of what was exchanged meanwhile.
type Unanswered struct{ Err error }

func (u Unanswered) Error() string { return u.Err.Error() }
func (u Unanswered) Unwrap() error { return u.Err }

// Refused is an error that another connection does not cure.
type Refused struct{ Err error }

func (r Refused) Error() string { return r.Err.Error() }
func (r Refused) Unwrap() error { return r.Err }

// Reader reads from a source.
type Reader struct {
	ctx    context.Context
	source Source
	pause  time.Duration
	stall  time.Duration

	size          int64  // 0 as long as nobody has told
	tag           string // the strong entity tag; "" as long as there is none
	authorization string

	offset int64
	broken int           // connections in a row without a byte
	body   io.ReadCloser // nil if there is no connection
	cancel context.CancelFunc
	timer  *time.Timer // calls cancel
}

// Open gives what reads from a source, until ctx ends. The network is first used by a Read.
func Open(ctx context.Context, s Source) *Reader {
	return &Reader{ctx: ctx, source: s, pause: firstPause, stall: Stall, size: s.Size}
}

func (r *Reader) Read(p []byte) (int, error) {
	for {
		n, err := r.read(p)
		if n > 0 {
			r.broken = 0
			return n, nil
		}
		if err == nil {
			return 0, nil
		}
		if r.offset >= r.size && (r.size > 0 || err == io.EOF) { // a connection may break once it has brought all
			return 0, io.EOF
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		r.Close()
		if r.broken++; r.broken >= maxBroken || r.ctx.Err() != nil || errors.As(err, new(Refused)) || errors.Is(err, errExchanged) {
			return 0, r.fail(err)
		}
		select {
		case <-time.After(r.pause << (r.broken - 1)):
		case <-r.ctx.Done():
		}
	}
}

// read reads from a connection, which it makes if there is none.
func (r *Reader) read(p []byte) (n int, err error) {
	if r.body == nil {
		err = r.connect()
	}
	if err == nil {
		r.timer.Reset(r.stall)
		n, err = r.body.Read(p)
		r.timer.Stop() // who reads slowly is not the server's fault
		r.offset += int64(n)
	}
	if errors.Is(err, context.Canceled) && r.ctx.Err() == nil {
		err = fmt.Errorf("nothing has come for %v", r.stall)
	}
	return n, err
}

func (r *Reader) fail(err error) error {
	if !errors.As(err, new(Refused)) && !errors.As(err, new(Unanswered)) {
		err = Unanswered{err}
	}
	of := ""
	if r.size > 0 {
		of = fmt.Sprintf(" of %d", r.size)
	}
	return fmt.Errorf("fetching %s from %s, after %d%s bytes: %w", r.source.Name, r.source.URL.Host, r.offset, of, err)
}

// Close ends the connection.
func (r *Reader) Close() error {
	if r.cancel != nil {
		r.cancel()
		r.timer.Stop()
	}
	if r.body != nil {
		r.body.Close()
	}
	r.body, r.cancel = nil, nil
	return nil
}

// Do is the client's, whose errors have no URL.
func Do(c *http.Client, r *http.Request) (*http.Response, error) {
	resp, err := c.Do(r)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return resp, err
}
