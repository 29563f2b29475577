package download

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

// content is a few buffers long.
func content() []byte {
	b := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// open has a server for a test, and gives what reads from it, with short pauses.
func open(t *testing.T, handler http.Handler) *Reader {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	u, err := url.Parse(strings.Replace(s.URL, "://", "://user:hush@", 1) + "/?signature=hush")
	if err != nil {
		t.Fatal(err)
	}
	r := Open(t.Context(), Source{Client: s.Client(), URL: u, Name: "it"})
	r.pause, r.stall = time.Millisecond, time.Minute
	t.Cleanup(func() { r.Close() })
	return r
}

// breaking hangs up after every some bytes.
type breaking struct {
	content []byte
	after   int
	ranges  bool // serves them
	chunked bool // does not tell the size
	asked   atomic.Int32
}

func (b *breaking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.asked.Add(1)
	if !b.ranges {
		r.Header.Del("Range")
	}
	c := &cut{w, b.after}
	if b.chunked {
		c.Write(b.content)
		return
	}
	http.ServeContent(c, r, "", time.Time{}, bytes.NewReader(b.content))
}

// cut lets some bytes through.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	n, _ := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func TestRead(t *testing.T) {
	want := content()
	all := len(want)
	for name, c := range map[string]struct {
		handler *breaking
		size    int
		asked   int32
	}{
		"in one piece":                             {&breaking{content: want, after: 1 << 30}, all, 1},
		"of unknown size":                          {&breaking{content: want, after: 1 << 30}, 0, 1},
		"of a size that nobody tells":              {&breaking{content: want, after: 1 << 30, chunked: true}, 0, 1},
		"empty":                                    {&breaking{after: 1 << 30}, 0, 1},
		"in pieces":                                {&breaking{content: want, after: 70_000, ranges: true}, all, 5},
		"in pieces, of unknown size":               {&breaking{content: want, after: 70_000, ranges: true}, 0, 5},
		"cut off before the last byte":             {&breaking{content: want, after: all - 1, ranges: true}, all, 2},
		"cut off after the last byte":              {&breaking{content: want, after: all, chunked: true}, all, 1},
		"more than was said, by who tells no size": {&breaking{content: want, after: 1 << 30, chunked: true}, all - 1, 1},
		"cut off there, after more than was said":  {&breaking{content: want, after: all, chunked: true}, all - 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, c.handler)
			r.source.Size, r.size = int64(c.size), int64(c.size)
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, c.handler.content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if asked := c.handler.asked.Load(); asked != c.asked {
				t.Errorf("%d connections, want %d", asked, c.asked)
			}
		})
	}
}

// TestWithoutRanges has connections that bring more and more, from the beginning.
func TestWithoutRanges(t *testing.T) {
	want := content()
	var asked atomic.Int32
	r := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(&breaking{content: want, after: 70_000 * int(asked.Add(1))}).ServeHTTP(w, r)
	}))
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) || asked.Load() != 5 {
		t.Errorf("%d bytes with %d connections, %v", len(got), asked.Load(), err)
	}
}

func TestRefused(t *testing.T) {
	want := content()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		asked   int32
		says    string
	}{
		"not there":          {http.NotFound, 1, "HTTP status 404 Not Found"},
		"not for us":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, 1, "403"},
		"with a password":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, 1, "401"},
		"some range":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPartialContent) }, 1, "another range"},
		"less than was said": {(&breaking{content: want[:1000], after: 1 << 30}).ServeHTTP, 1, "of 1000 bytes"},
		"more than was said": {(&breaking{content: append(want[:len(want):len(want)], 1), after: 1 << 30}).ServeHTTP, 1, "of 300001 bytes"},
		"another range":      {second(want, func(w http.ResponseWriter) { w.Header().Set("Content-Range", "bytes 5-10/300000"); w.WriteHeader(206) }), 2, "another range"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			r := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				c.handler(w, r)
			}))
			r.source.Size, r.size = int64(len(want)), int64(len(want))
			_, err := io.ReadAll(r)
			if err == nil || !strings.Contains(err.Error(), c.says) || !errors.As(err, new(Refused)) || errors.As(err, new(Unanswered)) {
				t.Errorf("%v; want %q", err, c.says)
			}
			if n := asked.Load(); n != c.asked {
				t.Errorf("%d connections, want %d", n, c.asked)
			}
		})
	}
}

// TestExchanged has something else behind the second connection. Whoever wants that begins again.
func TestExchanged(t *testing.T) {
	want := content()
	for name, handler := range map[string]http.HandlerFunc{
		"size": second(want, func(w http.ResponseWriter) { w.Header().Set("Content-Length", "2000") }),
		"size, of a range": second(want, func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 1000-1999/2000")
			w.WriteHeader(http.StatusPartialContent)
		}),
		"tag": second(want, func(w http.ResponseWriter) { w.Header().Set("ETag", `"b"`); w.Write(want) }),
		"tag, of a range": second(want, func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"b"`)
			w.Header().Set("Content-Range", "bytes 1000-299999/300000")
			w.WriteHeader(http.StatusPartialContent)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			r := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				handler(w, r)
			}))
			got, err := io.ReadAll(r)
			if len(got) != 1000 || err == nil || !strings.Contains(err.Error(), "exchanged meanwhile") || !errors.As(err, new(Unanswered)) || errors.As(err, new(Refused)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if n := asked.Load(); n != 2 {
				t.Errorf("%d connections, want 2", n)
			}
		})
	}
}

// second breaks the first connection after 1000 bytes, and answers the second one as then says.
func second(content []byte, then func(http.ResponseWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			then(w)
			return
		}
		w.Header().Set("ETag", `"a"`)
		(&breaking{content: content, after: 1000}).ServeHTTP(w, r)
	}
}

// TestIfRange has what was exchanged come whole, from a server that keeps to RFC 9110, and what was not in a range.
func TestIfRange(t *testing.T) {
	want := content()
	for later, says := range map[string]string{`"a"`: "", `"b"`: "exchanged meanwhile"} {
		var asked atomic.Int32
		r := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", later)
			after := 1 << 30
			if asked.Add(1) == 1 {
				w.Header().Set("ETag", `"a"`)
				after = 1000
			} else if got := r.Header.Get("If-Range"); got != `"a"` {
				t.Errorf("If-Range is %q", got)
			}
			(&breaking{content: want, after: after, ranges: true}).ServeHTTP(w, r)
		}))
		got, err := io.ReadAll(r)
		if says == "" && (err != nil || !bytes.Equal(got, want)) || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %d bytes, %v", later, len(got), err)
		}
	}
}

// TestWeakTag has one that says nothing of bytes.
func TestWeakTag(t *testing.T) {
	want := content()
	var asked atomic.Int32
	r := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Range") != "" {
			t.Errorf("If-Range is %q", r.Header.Get("If-Range"))
		}
		w.Header().Set("ETag", fmt.Sprintf(`W/"%d"`, asked.Add(1)))
		(&breaking{content: want, after: 200_000, ranges: true}).ServeHTTP(w, r)
	}))
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestUnanswered(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		asked   int32
		says    string
	}{
		"500":         {status(500), maxBroken, "HTTP status 500 Internal Server Error"},
		"503":         {status(503), maxBroken, "503"},
		"429":         {status(429), maxBroken, "429"},
		"408":         {status(408), maxBroken, "408"},
		"hangs up":    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, maxBroken, "asking for it: EOF"},
		"no ranges":   {(&breaking{content: content(), after: 70_000}).ServeHTTP, maxBroken, "after 70000 of 300000 bytes"},
		"no progress": {second(content(), func(http.ResponseWriter) { panic(http.ErrAbortHandler) }), maxBroken, "after 1000 of 300000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			r := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				c.handler(w, r)
			}))
			// Without connections that are used again: what the client sends a second time by itself is not counted.
			r.source.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			_, err := io.ReadAll(r)
			if err == nil || !strings.Contains(err.Error(), c.says) || !errors.As(err, new(Unanswered)) || errors.As(err, new(Refused)) {
				t.Errorf("%v; want %q", err, c.says)
			}
			if n := asked.Load(); n != c.asked {
				t.Errorf("%d connections, want %d", n, c.asked)
			}
		})
	}
}

// TestPatience has a server that answers at last.
func TestPatience(t *testing.T) {
	want := content()
	var asked atomic.Int32
	r := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < maxBroken {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Write(want)
	}))
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestSecret has a URL that opens what it names.
func TestSecret(t *testing.T) {
	r := open(t, http.NotFoundHandler())
	r.source.URL.Host = "127.0.0.1:1"
	if _, err := io.ReadAll(r); err == nil || strings.Contains(err.Error(), "hush") || !strings.HasPrefix(err.Error(), "fetching it from 127.0.0.1:1, after 0 bytes: asking for it: dial tcp") {
		t.Errorf("the error is %v", err)
	}
}

// silent begins, and says nothing more.
func silent(w http.ResponseWriter, r *http.Request) {
	w.Write([]byte("some"))
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// TestStall has a server that goes silent on its first connection, or on all of them.
func TestStall(t *testing.T) {
	want := append([]byte("some"), content()...)
	var asked atomic.Int32
	r := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			silent(w, r)
			return
		}
		w.Write(want)
	}))
	r.stall = 500 * time.Millisecond
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	r = open(t, http.HandlerFunc(silent))
	r.stall = 20 * time.Millisecond
	if got, err := io.ReadAll(r); string(got) != "some" && len(got) > 0 || err == nil || !strings.Contains(err.Error(), "nothing has come for 20ms") || !errors.As(err, new(Unanswered)) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := open(t, http.HandlerFunc(silent))
	r.ctx = ctx
	if _, err := io.ReadFull(r, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := r.Read(make([]byte, 4)); !errors.Is(err, context.Canceled) || !errors.As(err, new(Unanswered)) {
		t.Errorf("it goes on when it has to stop: %v", err)
	}
}

// TestAuthorize has a server that breaks connections, and lets nobody in without a word that another gives.
func TestAuthorize(t *testing.T) {
	blob := &breaking{content: content(), after: 200_000, ranges: true}
	r := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t0" {
			w.Header().Set("WWW-Authenticate", "Bearer x")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		blob.ServeHTTP(w, r)
	}))
	r.source.URL.User = nil
	asked := 0
	r.source.Authorize = func(_ context.Context, challenge string) (string, error) {
		if asked++; challenge != "Bearer x" {
			t.Errorf("the challenge is %q", challenge)
		}
		return "Bearer t0", nil
	}
	got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(r, 10)))
	if err == nil {
		var rest []byte
		rest, err = io.ReadAll(r)
		got = append(got, rest...)
	}
	if err != nil || !bytes.Equal(got, blob.content) || asked != 1 {
		t.Errorf("%d bytes with %d words, %v", len(got), asked, err)
	}
}

func TestAuthorizeFails(t *testing.T) {
	no := errors.New("no")
	for err, asked := range map[error]int{no: maxBroken, Refused{no}: 1, Unanswered{no}: maxBroken} {
		r := open(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
		n := 0
		r.source.Authorize = func(context.Context, string) (string, error) { n++; return "", err }
		if _, got := io.ReadAll(r); !errors.Is(got, no) || n != asked || errors.As(got, new(Refused)) != (asked == 1) || errors.As(got, new(Unanswered)) == (asked == 1) {
			t.Errorf("%#v: %v, asked %d times", err, got, n)
		}
	}
}
