package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestPullStalls has a registry that takes requests and never answers.
func TestPullStalls(t *testing.T) {
	s := newShelf(t, (*httptest.Server).Start)
	s.instead(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := puller{
		store:    s.store,
		resolver: docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(t.Context(), config.HostOptions{})}),
		platform: platforms.Default(), progress: io.Discard, patience: 10 * time.Millisecond,
	}
	_, err := p.pull(t.Context(), s.ref("latest"), "")
	if !errors.Is(err, errStalled) || !strings.Contains(sentence(s.ref("latest"), err), "does not answer") {
		t.Error(err)
	}
}

// TestPullStallsInALayer has a registry that sends half of a layer and then nothing, without closing the connection.
func TestPullStallsInALayer(t *testing.T) {
	const size = 10_000_000
	s := newShelf(t, (*httptest.Server).Start)
	layer := static.NewLayer(bytes.Repeat([]byte("x"), size), types.OCIUncompressedLayer)
	s.push("latest", s.of(runtime.GOARCH, layer))
	hash, err := layer.Digest()
	s.must(err)
	half := func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/blobs/"+hash.String()) {
			s.registry.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", "10000000")
		w.Write(make([]byte, size/2))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	synctest.Test(t, func(t *testing.T) {
		client := inBubble(t, half)
		var progress bytes.Buffer
		p := puller{
			store: s.store,
			resolver: docker.NewResolver(docker.ResolverOptions{
				Hosts: docker.ConfigureDefaultRegistries(docker.WithClient(client), docker.WithPlainHTTP(docker.MatchAllHosts)),
			}),
			platform: platforms.Default(), progress: &progress, patience: patience,
		}
		ref := s.ref("latest")
		start := time.Now()
		_, err := p.pull(t.Context(), ref, "")
		if took := time.Since(start); took < patience || took > patience+2*lookEvery {
			t.Errorf("it was given up after %v", took)
		}
		want := "the registry " + s.host + " broke off in the middle of " + ref + " (nothing came any more): see whether it runs; what came is kept"
		if !errors.Is(err, errStalled) || !resumable(err) || sentence(ref, err) != want {
			t.Errorf("resumable %v: %v: %s", resumable(err), err, sentence(ref, err))
		}
		if got, want := progress.String(), "<6>pulling "+ref+": 5.0 of 10.0 MB\n"; got != want {
			t.Errorf("the progress is %q, not %q", got, want)
		}
	})
}

// inBubble gives a client whose requests all go to h, over connections that synctest's clock knows.
func inBubble(t *testing.T, h http.HandlerFunc) *http.Client {
	listener := make(pipes)
	server := &http.Server{Handler: h, ErrorLog: quiet}
	go server.Serve(listener)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case listener <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return &http.Client{Transport: transport}
}

// pipes is a listener for what is sent to it, until it is closed.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error { close(p); return nil }

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }
