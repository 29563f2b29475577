package attest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

// content is a few buffers long.
func content() []byte {
	b := make([]byte, 300_000)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

func newFetcher(t *testing.T, server string) fetcher {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	never := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("the wrong client is used")
		return nil, http.ErrNotSupported
	})}
	return fetcher{server: u, known: never, others: never, pause: time.Millisecond, stall: 10 * time.Second}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// breaking hangs up after every some bytes. It serves ranges if ranges is true.
type breaking struct {
	content []byte
	after   int
	ranges  bool
	asked   atomic.Int32
}

func (b *breaking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.asked.Add(1)
	if !b.ranges {
		r.Header.Del("Range")
	}
	http.ServeContent(&cut{w, b.after}, r, "", time.Time{}, bytes.NewReader(b.content))
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

func TestFetch(t *testing.T) {
	want := content()
	for name, c := range map[string]struct {
		handler *breaking
		asked   int32
		says    string // "" if it works
	}{
		"in one piece":                 {&breaking{content: want, after: 1 << 30}, 1, ""},
		"in pieces":                    {&breaking{content: want, after: 70_000, ranges: true}, 5, ""},
		"cut off, without ranges":      {&breaking{content: want, after: 70_000}, maxBroken, "unexpected EOF"},
		"cut off before the last byte": {&breaking{content: want, after: len(want) - 1, ranges: true}, 2, ""},
		"too short":                    {&breaking{content: want[:1000], after: 1 << 30, ranges: true}, 2, "416"},
		"too long":                     {&breaking{content: append(want[:len(want):len(want)], 1), after: 1 << 30}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.handler)
			defer s.Close()
			f := newFetcher(t, "https://attest.example:8443/sub")
			f.others = s.Client()
			r, err := f.open(t.Context(), s.URL+"/overlay", int64(len(want)), "")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			if asked := c.handler.asked.Load(); asked != c.asked {
				t.Errorf("%d connections, want %d", asked, c.asked)
			}
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil || !bytes.Equal(got, c.handler.content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestFetchFails(t *testing.T) {
	for status, asked := range map[int]int32{404: 1, 403: 1, 401: 1, 206: 1, 500: maxBroken, 503: maxBroken, 429: maxBroken} {
		var n atomic.Int32
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			n.Add(1)
			w.WriteHeader(status)
		}))
		f := newFetcher(t, "https://attest.example")
		f.others = s.Client()
		r, err := f.open(t.Context(), s.URL, 10, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)) || n.Load() != asked || Unanswered(err) != (asked == maxBroken) {
			t.Errorf("%d: after %d connections: %v", status, n.Load(), err)
		}
		r.Close()
		s.Close()
	}
}

// TestSecretURL has a URL that opens what it names.
func TestSecretURL(t *testing.T) {
	f := newFetcher(t, "https://attest.example")
	f.others = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") })}
	r, err := f.open(t.Context(), "https://web.example/o?signature=hush", 1, "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "asking web.example: no route") {
		t.Errorf("the error is %v", err)
	}
}

func TestFetchStalls(t *testing.T) {
	stop := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("some"))
		w.(http.Flusher).Flush()
		<-stop
	}))
	defer s.Close()
	defer close(stop)
	f := newFetcher(t, "https://attest.example")
	f.others, f.stall = s.Client(), 20*time.Millisecond
	r, err := f.open(t.Context(), s.URL, 10, "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err == nil || string(got) != "some" {
		t.Errorf("%q, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.stall = time.Hour
	if r, err = f.open(ctx, s.URL, 10, ""); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := r.Read(make([]byte, 4)); err == nil {
		t.Error("it goes on when it has to stop")
	}
}

// TestFetchWhere has the addresses that a grant can have.
func TestFetchWhere(t *testing.T) {
	const digest = "abc"
	for where, want := range map[string]string{
		"overlays/7":                                   "known https://attest.example:8443/sub/overlays/7",
		"/overlays/7?x=y":                              "known https://attest.example:8443/overlays/7?x=y",
		"https://attest.example:8443/o":                "known https://attest.example:8443/o",
		"https://attest.example/o":                     "others https://attest.example/o",
		"http://attest.example:8443/o":                 "others http://attest.example:8443/o",
		"//web.example/o":                              "others https://web.example/o",
		"oci://registry.example:5000/a/b":              "others https://registry.example:5000/v2/a/b/blobs/sha256:abc",
		"oci://registry.example/a/b@sha256:otherwise/": "others https://registry.example/v2/a/b/blobs/sha256:abc",
	} {
		var got string
		answer := func(who string) *http.Client {
			return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				got = who + " " + r.URL.String()
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("x"))}, nil
			})}
		}
		f := newFetcher(t, "https://attest.example:8443/sub")
		f.known, f.others = answer("known"), answer("others")
		r, err := f.open(t.Context(), where, 1, digest)
		if err != nil {
			t.Errorf("%q: %v", where, err)
			continue
		}
		if _, err := io.ReadAll(r); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", where, got, err, want)
		}
		r.Close()
	}
	for _, where := range []string{"file:///etc/shadow", "ftp://a.example/o", "https://%zz", "data:,x"} {
		if _, err := newFetcher(t, "https://attest.example").open(t.Context(), where, 1, digest); err == nil {
			t.Errorf("%q is fetched", where)
		}
	}
}

// TestRegistry has one that gives everybody a token and its blobs to those that have one.
func TestRegistry(t *testing.T) {
	want := content()
	sum := sha256.Sum256(want)
	digest := hex.EncodeToString(sum[:])
	blob := &breaking{content: want, after: 200_000, ranges: true}
	mux := http.NewServeMux()
	s := httptest.NewTLSServer(mux)
	defer s.Close()
	var tokens atomic.Int32
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		tokens.Add(1)
		if q := r.URL.Query(); q.Get("service") != "registry" || q.Get("scope") != "repository:a/b:pull" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		io.WriteString(w, `{"token":"t0"}`)
	})
	mux.HandleFunc("/v2/a/b/blobs/sha256:"+digest, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t0" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.URL+`/token",service="registry",scope="repository:a/b:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		blob.ServeHTTP(w, r)
	})
	f := newFetcher(t, "https://attest.example")
	f.others = s.Client()
	r, err := f.open(t.Context(), "oci://"+s.Listener.Addr().String()+"/a/b", int64(len(want)), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(r, 10)))
	if err == nil {
		var rest []byte
		rest, err = io.ReadAll(r)
		got = append(got, rest...)
	}
	if err != nil || !bytes.Equal(got, want) || tokens.Load() != 1 {
		t.Errorf("%d bytes with %d tokens, %v", len(got), tokens.Load(), err)
	}
}

func TestToken(t *testing.T) {
	for _, challenge := range []string{"", "Basic realm=x", `Bearer realm="http://plain.example/token"`, "Bearer", `Bearer service="x"`} {
		tk := token{client: newFetcher(t, "https://attest.example").others}
		if err := tk.fetch(t.Context(), challenge); err == nil {
			t.Errorf("%q gives a token", challenge)
		}
	}
	for s, want := range map[string]map[string]string{
		"":                                {},
		`a="b,c",d=e , F="g"`:             {"a": "b,c", "d": "e ", "f": "g"},
		`realm="https://x/?a=b",scope=""`: {"realm": "https://x/?a=b", "scope": ""},
		"a":                               {},
	} {
		if got := parameters(s); !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

func FuzzParameters(f *testing.F) {
	f.Add(`a="b",c=d`)
	f.Fuzz(func(_ *testing.T, s string) { parameters(s) }) // ends, and does not panic
}
