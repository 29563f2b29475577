// Package registry is an image registry for tests, with the failures of real
// ones.
//
// A [Store] holds images in memory. Any number of registries serve it, each
// with its own idea of who may read: plain or with TLS, to everyone, with
// basic authentication, or with bearer tokens from a token service of its own.
// A registry can be told to fail with a [Fault], and to go away and come back.
// It counts requests.
package registry

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Store is images, by repository and tag.
type Store struct{ handler http.Handler }

// NewStore makes an empty store.
func NewStore() *Store {
	return &Store{registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
}

// Push stores an image or an index of images under a name without a host, such
// as "tinkerbell/tink-agent:latest".
func (s *Store) Push(image string, content remote.Taggable) error {
	ref, err := name.ParseReference("store.test/" + image)
	if err != nil {
		return fmt.Errorf("pushing %s: %w", image, err)
	}
	if err := remote.Push(ref, content, remote.WithTransport(inProcess{s.handler})); err != nil {
		return fmt.Errorf("pushing %s: %w", image, err)
	}
	return nil
}

// inProcess is a transport without a network.
type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	t.handler.ServeHTTP(w, r)
	response := w.Result()
	response.Request = r
	return response, nil
}

// Options say how a registry serves.
type Options struct {
	TLS *tls.Certificate // nil for plain HTTP
	// User and Password, if set, are asked for.
	User, Password string
	// Bearer makes clients get a token for them first, or one for nobody if they are not set, as Docker Hub does.
	Bearer bool
}

// Request is a request that a registry has had.
type Request struct {
	Method, Path string
	From         string // address of the client
	User         string // of basic authentication
	UserAgent    string
}

// Registry is a registry that serves until GoAway.
type Registry struct {
	store   *Store
	options Options
	auth    authenticator
	address string

	mu       sync.Mutex
	server   *http.Server // nil while it is away
	fault    Fault
	requests []Request
}

// New serves a store at a listener, which it takes over.
func New(store *Store, listener net.Listener, o Options) *Registry {
	r := &Registry{store: store, options: o, address: listener.Addr().String()}
	r.auth = newAuthenticator(o)
	r.ComeBack(listener)
	return r
}

// Start is New for a test, with which the registry ends.
func Start(t testing.TB, store *Store, listener net.Listener, o Options) *Registry {
	r := New(store, listener, o)
	t.Cleanup(r.GoAway)
	return r
}

// Address is the address at which it serves, which is the host in the names of
// its images.
func (r *Registry) Address() string { return r.address }

// Fail makes the registry fail from now on; nil makes it well.
func (r *Registry) Fail(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// GoAway ends the registry's connections in the middle of what they do, and
// refuses new ones.
func (r *Registry) GoAway() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != nil {
		r.server.Close()
		r.server = nil
	}
}

// ComeBack serves again at a listener, which it takes over.
func (r *Registry) ComeBack(listener net.Listener) {
	r.GoAway()
	server := &http.Server{Handler: http.HandlerFunc(r.serve), ErrorLog: log.New(io.Discard, "", 0)}
	if r.options.TLS != nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*r.options.TLS}})
	}
	r.mu.Lock()
	r.server = server
	r.mu.Unlock()
	go server.Serve(listener) // ends with GoAway
}

// Requests are those that it has had, in order.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Count is how many of them match.
func (r *Registry) Count(match func(Request) bool) int {
	n := 0
	for _, q := range r.Requests() {
		if match(q) {
			n++
		}
	}
	return n
}

func (r *Registry) serve(w http.ResponseWriter, q *http.Request) {
	user, _, _ := q.BasicAuth()
	r.mu.Lock()
	fault := r.fault
	r.requests = append(r.requests, Request{q.Method, q.URL.Path, q.RemoteAddr, user, q.UserAgent()})
	r.mu.Unlock()
	if fault != nil {
		fault(w, q, r.authenticated())
	} else {
		r.authenticated().ServeHTTP(w, q)
	}
}

// authenticated is the store behind the registry's authentication.
func (r *Registry) authenticated() http.Handler { return r.auth.guard(r.store.handler) }
