package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Of a fetch.
const (
	firstPause = time.Second
	maxBroken  = 5                // connections in a row that bring nothing
	stall      = 30 * time.Second // without a byte, and a connection is broken
)

// Fetch gives what is at a URL of http or https; the network is first used by a Read. It goes on where a connection
// breaks: with servers that do not know ranges by passing over what is there already. ctx is of reading.
func Fetch(ctx context.Context, client *http.Client, where string) (io.ReadCloser, error) {
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("fetching what this machine was booted with: its address is not a URL of http or https")
	}
	return &fetch{ctx: ctx, client: client, url: u, pause: firstPause, stall: stall}, nil
}

// fetch is read from connections, each of which goes on where the one before it has broken.
type fetch struct {
	ctx    context.Context
	client *http.Client
	url    *url.URL
	pause  time.Duration // before another connection, and twice that with each
	stall  time.Duration

	offset int64
	broken int           // connections in a row without a byte
	body   io.ReadCloser // nil if there is no connection
	cancel context.CancelFunc
	timer  *time.Timer // calls cancel
}

// permanent is an error that another connection does not cure.
type permanent struct{ error }

func (f *fetch) Read(p []byte) (int, error) {
	for {
		err := f.connect()
		if err == nil {
			var n int
			f.timer.Reset(f.stall)
			n, err = f.body.Read(p)
			f.offset += int64(n)
			if n > 0 {
				f.broken = 0
				return n, nil
			}
			if err == nil || err == io.EOF {
				return 0, err
			}
		}
		f.Close()
		if f.broken++; f.broken >= maxBroken || errors.As(err, new(permanent)) || f.ctx.Err() != nil {
			return 0, f.fail(err)
		}
		select {
		case <-time.After(f.pause << f.broken):
		case <-f.ctx.Done():
		}
	}
}

// fail leaves out the URL, which may have a password in it.
func (f *fetch) fail(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("fetching what this machine was booted with from %s, after %d bytes: %w", f.url.Host, f.offset, err)
}

// Close ends the connection.
func (f *fetch) Close() error {
	if f.cancel != nil {
		f.cancel()
		f.timer.Stop()
	}
	if f.body != nil {
		f.body.Close()
	}
	f.body, f.cancel = nil, nil
	return nil
}

// connect makes a connection if there is none.
func (f *fetch) connect() error {
	if f.body != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(f.ctx)
	f.cancel, f.timer = cancel, time.AfterFunc(f.stall, cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url.String(), nil)
	if err != nil {
		return permanent{err}
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "ember")
	if f.offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", f.offset))
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	f.body = resp.Body
	switch status := resp.StatusCode; {
	case status == http.StatusOK: // from the beginning on, whatever was asked for
		_, err := io.CopyN(progress{f.timer, f.stall}, f.body, f.offset)
		return err
	case status == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", f.offset)):
		return nil
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return fmt.Errorf("HTTP status %d %s", status, http.StatusText(status))
	default:
		return permanent{fmt.Errorf("HTTP status %d %s", status, http.StatusText(status))}
	}
}

// progress keeps a connection from counting as broken while it brings what was there already.
type progress struct {
	timer *time.Timer
	stall time.Duration
}

func (p progress) Write(b []byte) (int, error) {
	p.timer.Reset(p.stall)
	return len(b), nil
}
