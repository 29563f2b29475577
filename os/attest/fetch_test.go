package attest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ember-os/ember/os/download"
)

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
	return fetcher{server: u, known: never, others: never}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestFetchUnanswered has errors after which the server is asked again, and others.
func TestFetchUnanswered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // one connection is enough
	f := newFetcher(t, "https://attest.example")
	for status, want := range map[int]bool{0: true, 503: true, 404: false} {
		f.others = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			if status == 0 {
				return nil, errors.New("no route")
			}
			return &http.Response{StatusCode: status, Body: http.NoBody}, nil
		})}
		r, err := f.open(ctx, "https://web.example/o", 1, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); err == nil || Unanswered(err) != want || !strings.HasPrefix(err.Error(), "fetching the overlay from web.example, ") {
			t.Errorf("%d: %v", status, err)
		}
		r.Close()
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
				return &http.Response{StatusCode: 200, ContentLength: 1, Body: io.NopCloser(strings.NewReader("x"))}, nil
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
	want := []byte("an overlay")
	sum := sha256.Sum256(want)
	digest := hex.EncodeToString(sum[:])
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
		w.Write(want)
	})
	f := newFetcher(t, "https://attest.example")
	f.others = s.Client()
	r, err := f.open(t.Context(), "oci://"+s.Listener.Addr().String()+"/a/b", int64(len(want)), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) || tokens.Load() != 1 {
		t.Errorf("%d bytes with %d tokens, %v", len(got), tokens.Load(), err)
	}
}

func TestToken(t *testing.T) {
	for _, challenge := range []string{"", "Basic realm=x", `Bearer realm="http://plain.example/token"`, "Bearer", `Bearer service="x"`} {
		if got, err := (token{newFetcher(t, "https://attest.example").others}).fetch(t.Context(), challenge); !errors.As(err, new(download.Refused)) {
			t.Errorf("%q gives the token %q, %v", challenge, got, err)
		}
	}
	for answer, want := range map[string]string{
		`{"token":"a","access_token":"b"}`: "Bearer a", `{"access_token":"b"}`: "Bearer b", `{}`: "", `<html>`: "",
	} {
		tk := token{&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(answer))}, nil
		})}}
		if got, err := tk.fetch(t.Context(), `Bearer realm="https://token.example"`); got != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v", answer, got, err)
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
