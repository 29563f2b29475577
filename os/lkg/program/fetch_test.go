package program

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var content = bytes.Repeat([]byte("0123456789"), 50_000)

// serve has a server for a test, and gives what fetches from it, quickly.
func serve(t *testing.T, handle http.HandlerFunc) *fetch {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	u, err := url.Parse(strings.Replace(s.URL, "://", "://user:hush@", 1))
	if err != nil {
		t.Fatal(err)
	}
	f := &fetch{ctx: t.Context(), client: s.Client(), url: u, pause: time.Millisecond, stall: time.Minute}
	t.Cleanup(func() { f.Close() })
	return f
}

// part writes the first n bytes of what was asked for and breaks the connection.
func part(t *testing.T, w http.ResponseWriter, r *http.Request, n int) {
	from := 0
	if text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		var err error
		if from, err = strconv.Atoi(strings.TrimSuffix(text, "-")); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(len(content)-1)+"/"+strconv.Itoa(len(content)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	w.Write(content[from:min(from+n, len(content))])
}

func TestFetch(t *testing.T) {
	var requests atomic.Int32
	for name, handle := range map[string]http.HandlerFunc{
		"whole": func(w http.ResponseWriter, r *http.Request) { w.Write(content) },
		"in parts": func(w http.ResponseWriter, r *http.Request) {
			part(t, w, r, 60_000)
		},
		"in parts, without ranges": func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			part(t, w, r, 60_000*int(requests.Add(1)))
		},
		"after a while": func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) < maxBroken {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Write(content)
		},
	} {
		t.Run(name, func(t *testing.T) {
			requests.Store(0)
			got, err := io.ReadAll(serve(t, handle))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestFetchFails(t *testing.T) {
	for name, c := range map[string]struct {
		handle   http.HandlerFunc
		requests int32
		want     string
	}{
		"not there": {http.NotFound, 1, "404 Not Found"},
		"never":     {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) }, maxBroken, "502 Bad Gateway"},
		"no progress": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				part(t, w, r, 1000)
				return
			}
			part(t, w, r, 0)
		}, maxBroken, "after 1000 bytes"},
		"other ranges": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				part(t, w, r, 1000)
				return
			}
			w.Header().Set("Content-Range", "bytes 5-10/11")
			w.WriteHeader(http.StatusPartialContent)
		}, 2, "206 Partial Content"},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			_, err := io.ReadAll(serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				c.handle(w, r)
			}))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%v; want %q", err, c.want)
			}
			if n := requests.Load(); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
		})
	}
	gone := serve(t, http.NotFound)
	gone.url.Host = "127.0.0.1:1"
	if _, err := io.ReadAll(gone); err == nil || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}

// TestFetchStalls has a server that goes silent on its first connection.
func TestFetchStalls(t *testing.T) {
	var requests atomic.Int32
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) > 1 {
			part(t, w, r, len(content))
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		w.Write(content[:1000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	f.stall = 500 * time.Millisecond
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestFetchEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(content[:1000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	f.ctx = ctx
	if _, err := io.ReadFull(f, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(f); err == nil {
		t.Error("it goes on")
	}
}

func TestFetchWhere(t *testing.T) {
	for _, bad := range []string{"", "uki.efi", "/uki.efi", "ftp://a/b", "http:///b", "http://a:b:c/"} {
		if _, err := Fetch(t.Context(), http.DefaultClient, bad); err == nil {
			t.Errorf("%q is fetched", bad)
		}
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(content) })
	r, err := Fetch(t.Context(), http.DefaultClient, s.url.String()+"/uki.efi")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
