package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// connect makes a connection that goes on at the offset.
func (r *Reader) connect() error {
	ctx, cancel := context.WithCancel(r.ctx)
	r.cancel, r.timer = cancel, time.AfterFunc(r.stall, cancel)
	resp, err := r.ask(ctx)
	if err != nil {
		return err
	}
	r.body = resp.Body
	from, size := int64(0), resp.ContentLength
	switch {
	case resp.StatusCode == http.StatusOK: // from the beginning on, whatever was asked for
	case resp.StatusCode == http.StatusPartialContent:
		var ok bool
		if from, size, ok = contentRange(resp.Header.Get("Content-Range")); !ok || from != r.offset {
			return Refused{fmt.Errorf("another range than what was asked for: %w", status(resp))}
		}
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout:
		return status(resp)
	default:
		return Refused{status(resp)}
	}
	if err := r.same(resp.Header.Get("ETag"), size); err != nil {
		return err
	}
	if _, err := io.CopyN(progress{r.timer, r.stall}, r.body, r.offset-from); err != nil {
		return fmt.Errorf("passing over what is there already: %w", err)
	}
	return nil
}

func (r *Reader) ask(ctx context.Context) (*http.Response, error) {
	resp, err := r.get(ctx)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || r.source.Authorize == nil {
		return resp, err
	}
	resp.Body.Close()
	if r.authorization, err = r.source.Authorize(ctx, resp.Header.Get("WWW-Authenticate")); err != nil {
		return nil, err
	}
	return r.get(ctx)
}

func (r *Reader) get(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.source.URL.String(), nil)
	if err != nil {
		return nil, Refused{err}
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "ember")
	if r.offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", r.offset))
		if r.tag != "" {
			req.Header.Set("If-Range", r.tag)
		}
	}
	if r.authorization != "" {
		req.Header.Set("Authorization", r.authorization)
	}
	resp, err := Do(r.source.Client, req)
	if err != nil {
		return nil, fmt.Errorf("asking for it: %w", err)
	}
	return resp, nil
}

func status(resp *http.Response) error {
	return fmt.Errorf("HTTP status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// errExchanged ends a Reader. Another one begins at the beginning.
var errExchanged = errors.New("it was exchanged meanwhile")

// same keeps tag and size of what there is, or compares them with those of what came before. The size is below 0 if
// the server does not tell.
func (r *Reader) same(tag string, size int64) error {
	if r.offset == 0 {
		r.tag, r.size = "", r.source.Size
	}
	if strings.HasPrefix(tag, "W/") {
		tag = ""
	}
	other := r.size > 0 && size >= 0 && size != r.size
	switch {
	case r.offset == 0 && other:
		return Refused{fmt.Errorf("the server has something else there, of %d bytes", size)}
	case r.offset == 0:
		r.tag = tag
	case other || r.tag != "" && tag != "" && tag != r.tag:
		return errExchanged
	}
	if size > 0 {
		r.size = size
	}
	return nil
}

// contentRange reads "bytes FIRST-LAST/SIZE" (RFC 9110, 14.4). The size is -1 if it is "*".
func contentRange(s string) (first, size int64, ok bool) {
	s, is := strings.CutPrefix(s, "bytes ")
	part, whole, both := strings.Cut(s, "/")
	from, to, two := strings.Cut(part, "-")
	if !is || !both || !two {
		return 0, 0, false
	}
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil || first < 0 {
		return 0, 0, false
	}
	last, err := strconv.ParseInt(to, 10, 64)
	if err != nil || last < first {
		return 0, 0, false
	}
	if whole == "*" {
		return first, -1, true
	}
	size, err = strconv.ParseInt(whole, 10, 64)
	return first, size, err == nil && size > last
}

// progress keeps a connection from counting as broken while it brings what is there already.
type progress struct {
	timer *time.Timer
	stall time.Duration
}

func (p progress) Write(b []byte) (int, error) {
	p.timer.Reset(p.stall)
	return len(b), nil
}
