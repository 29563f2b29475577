package attest

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

const (
	stall     = 30 * time.Second // without a byte, and a connection is given up
	maxBroken = 5                // connections in a row that bring nothing
)

// fetcher gets what is at a URL, in as many connections as it takes.
type fetcher struct {
	server *url.URL     // of attestation: what URLs are relative to, as if a "/" followed it
	known  *http.Client // for it
	others *http.Client // for everybody else
	pause  time.Duration
	stall  time.Duration
}

// open gives the contents of a URL that has size bytes, whose SHA-256 is digest, in hex. Both are only used to
// ask for it: what is read has to be checked. Besides those of the web, "oci://REGISTRY/NAME" is the blob of that
// digest in a repository of a registry.
func (f fetcher) open(ctx context.Context, where string, size int64, digest string) (io.ReadCloser, error) {
	base := *f.server
	base.Path += "/"
	u, err := base.Parse(where)
	if err != nil {
		return nil, errors.New("fetching the overlay: its address is not a URL")
	}
	b := &blob{ctx: ctx, fetcher: f, client: f.others, size: size}
	switch {
	case u.Scheme == "oci":
		b.url = ociBlob(u, digest)
		b.token = &token{client: f.others}
	case u.Scheme == f.server.Scheme && u.Host == f.server.Host:
		b.url, b.client = u.String(), f.known
	case u.Scheme == "http" || u.Scheme == "https":
		b.url = u.String()
	default:
		return nil, fmt.Errorf("fetching the overlay: its address begins with %.20q, not with https, http or oci", u.Scheme)
	}
	return b, nil
}

// blob is read from connections, each of which goes on where the one before it has broken.
type blob struct {
	fetcher
	ctx    context.Context
	client *http.Client
	url    string
	token  *token // nil if none is needed
	size   int64

	offset int64
	broken int           // connections in a row without a byte
	body   io.ReadCloser // nil if there is no connection
	cancel context.CancelFunc
	timer  *time.Timer
}

// permanent is an error that another connection does not cure.
type permanent struct{ error }

// unanswered is an error of the network, or of a server that says to come again.
type unanswered struct{ error }

func (u unanswered) Unwrap() error { return u.error }

func (b *blob) Read(p []byte) (int, error) {
	for {
		err := b.connect()
		if err == nil {
			var n int
			b.timer.Reset(b.stall)
			n, err = b.body.Read(p)
			b.offset += int64(n)
			if n > 0 {
				b.broken = 0
				return n, nil
			}
			if err == io.EOF && b.offset >= b.size {
				return 0, io.EOF
			}
			if err == nil {
				continue
			}
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
		}
		b.Close()
		if b.broken++; b.broken >= maxBroken || errors.As(err, new(permanent)) || b.ctx.Err() != nil {
			if !errors.As(err, new(permanent)) {
				err = unanswered{err}
			}
			return 0, fmt.Errorf("fetching the overlay, after %d of %d bytes: %w", b.offset, b.size, err)
		}
		select {
		case <-time.After(b.pause << b.broken):
		case <-b.ctx.Done():
		}
	}
}

// Close ends the connection.
func (b *blob) Close() error {
	if b.cancel != nil {
		b.cancel()
		b.timer.Stop()
	}
	if b.body != nil {
		b.body.Close()
	}
	b.body, b.cancel = nil, nil
	return nil
}

// connect makes a connection if there is none.
func (b *blob) connect() error {
	if b.body != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(b.ctx)
	b.cancel, b.timer = cancel, time.AfterFunc(b.stall, cancel)
	resp, err := b.get(ctx)
	if err != nil {
		return err
	}
	b.body = resp.Body
	switch {
	case resp.StatusCode == http.StatusOK: // from the beginning on, whatever was asked for
		b.timer.Reset(b.stall)
		if _, err := io.CopyN(ticking{b.timer, b.stall}, b.body, b.offset); err != nil {
			return fmt.Errorf("passing over what is there already: %w", err)
		}
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", b.offset)):
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout:
		return fmt.Errorf("HTTP status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	default:
		return permanent{fmt.Errorf("HTTP status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))}
	}
	return nil
}

// ticking keeps a timer from ending while something is written.
type ticking struct {
	timer *time.Timer
	stall time.Duration
}

func (t ticking) Write(p []byte) (int, error) {
	t.timer.Reset(t.stall)
	return len(p), nil
}

func (b *blob) get(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url, nil)
	if err != nil {
		return nil, permanent{err}
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "ember")
	if b.offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", b.offset))
	}
	b.token.use(req)
	resp, err := do(b.client, req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || b.token == nil {
		return resp, err
	}
	resp.Body.Close()
	if err := b.token.fetch(ctx, resp.Header.Get("WWW-Authenticate")); err != nil {
		return nil, err
	}
	b.token.use(req)
	return do(b.client, req)
}

// do gives errors without the URL: there are some that are as good as a password.
func do(c *http.Client, r *http.Request) (*http.Response, error) {
	resp, err := c.Do(r)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("asking %s: %w", r.URL.Host, wrapped.Err)
	}
	return resp, err
}
