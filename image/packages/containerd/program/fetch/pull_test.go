package fetch

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
)

var quiet = log.New(io.Discard, "", 0)

const repository = "tinkerbell/tink-agent"

// shelf is a registry and a machine that pulls from it.
type shelf struct {
	t        *testing.T
	handler  atomic.Value // http.HandlerFunc: what the server does instead of the registry's work
	registry http.Handler
	host     string
	store    content.Store
	hosts    string // of hosts.toml files
}

// newShelf has localhost names resolved over plain HTTP, as the resolver does.
func newShelf(t *testing.T, start func(*httptest.Server)) *shelf {
	s := &shelf{t: t, registry: registry.New(registry.Logger(quiet)), hosts: t.TempDir()}
	s.instead(s.registry.ServeHTTP)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handler.Load().(http.HandlerFunc)(w, r)
	}))
	server.Config.ErrorLog = quiet
	start(server)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	s.host = server.Listener.Addr().String()
	var err error
	if s.store, err = local.NewStore(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shelf) instead(h http.HandlerFunc) { s.handler.Store(h) }

// image is one with a program, for this platform.
func (s *shelf) image(mark string) v1.Image {
	return s.of(runtime.GOARCH, static.NewLayer(gzipped(s.t, archive(s.t, "tink-agent "+ours(mark))), types.OCILayer))
}

func (s *shelf) of(arch string, layers ...v1.Layer) v1.Image {
	im, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...)
	s.must(err)
	im = mutate.ConfigMediaType(im, types.OCIConfigJSON)
	file, err := im.ConfigFile()
	s.must(err)
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", arch
	im, err = mutate.ConfigFile(im, file)
	s.must(err)
	return im
}

func (s *shelf) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// push puts an image or an index under a tag, whatever the server does just now.
func (s *shelf) push(tag string, what remote.Taggable) {
	s.t.Helper()
	server := httptest.NewServer(s.registry)
	defer server.Close()
	ref, err := name.ParseReference(server.Listener.Addr().String() + "/" + repository + ":" + tag)
	s.must(err)
	switch what := what.(type) {
	case v1.Image:
		s.must(remote.Write(ref, what))
	case v1.ImageIndex:
		s.must(remote.WriteIndex(ref, what))
	}
}

func (s *shelf) ref(tag string) string { return s.host + "/" + repository + ":" + tag }

// configure writes the hosts.toml of the registry.
func (s *shelf) configure(format string, args ...any) {
	s.t.Helper()
	dir := filepath.Join(s.hosts, strings.Replace(s.host, ":", "_", 1)+"_")
	s.must(os.MkdirAll(dir, 0o755))
	s.must(os.WriteFile(filepath.Join(dir, "hosts.toml"), fmt.Appendf(nil, format, args...), 0o600))
}

// fetch gives the mark of the program, or the sentence about what is wrong.
func (s *shelf) fetch(ref string) (mark string, err error) {
	s.t.Helper()
	o := options{hosts: s.hosts, out: filepath.Join(s.t.TempDir(), "out"), ref: ref, paths: agentPaths}
	r, err := o.pullAndExtract(s.t.Context(), s.store, io.Discard)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(o.out)
	s.must(err)
	if r.Digest == "" || r.Path == "" {
		s.t.Errorf("%+v", r)
	}
	return string(text[64:]), nil
}

// says checks that fetching ref fails with a sentence that has these words.
func (s *shelf) says(ref string, words ...string) {
	s.t.Helper()
	_, err := s.fetch(ref)
	if err == nil {
		s.t.Fatalf("%s was fetched", ref)
	}
	text := sentence(ref, err)
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.t.Errorf("%q does not say %q; it is %v", text, w, err)
		}
	}
}

func TestPull(t *testing.T) {
	s := newShelf(t, (*httptest.Server).Start)
	s.push("latest", s.image("one"))
	foreign := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	other := s.of(foreign, static.NewLayer(archive(t, "tink-agent x"), types.OCILayer))
	on := func(im v1.Image, arch string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: im, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}
	}
	s.push("both", mutate.AppendManifests(empty.Index, on(other, foreign), on(s.image("two"), runtime.GOARCH)))
	s.push("foreign", other)
	s.push("foreign-index", mutate.AppendManifests(empty.Index, on(other, foreign)))
	s.push("empty", s.of(runtime.GOARCH, static.NewLayer(archive(t, "etc/x 1"), types.OCILayer)))
	s.push("artefact", mutate.ConfigMediaType(s.image("x"), "application/vnd.cncf.helm.config.v1+json"))
	s.push("rubbish", s.of(runtime.GOARCH, static.NewLayer([]byte(strings.Repeat("rubbish", 100)), types.OCILayer)))

	for tag, want := range map[string]string{"latest": "one", "both": "two"} {
		if mark, err := s.fetch(s.ref(tag)); mark != want || err != nil {
			t.Errorf("%s: %q, %v", tag, mark, err)
		}
	}
	s.says(s.ref("none"), "404 Not Found", "check its name")
	s.says(s.ref("foreign"), "is for linux/"+foreign, "this machine is "+platforms.DefaultString())
	s.says(s.ref("foreign-index"), "is for linux/"+foreign)
	s.says(s.ref("empty"), "has no agent", "tink-agent, usr/bin/tink-agent")
	s.says(s.ref("artefact"), "is not an image", "helm")
	s.says(s.ref("rubbish"), "is not an image", "a layer of it cannot be read")
}

func TestPullByDigest(t *testing.T) {
	s := newShelf(t, (*httptest.Server).Start)
	old := s.image("old")
	s.push("latest", old)
	s.push("latest", s.image("new"))
	hash, err := old.Digest()
	s.must(err)
	if mark, err := s.fetch(s.host + "/" + repository + "@" + hash.String()); mark != "old" || err != nil {
		t.Errorf("%q, %v", mark, err)
	}
	s.says(s.host+"/"+repository+"@"+digest.FromString("x").String(), "404")
}

func TestPullKnown(t *testing.T) {
	s := newShelf(t, (*httptest.Server).Start)
	im := s.image("one")
	s.push("latest", im)
	hash, err := im.Digest()
	s.must(err)
	o := options{hosts: s.hosts, ref: s.ref("latest"), have: digest.Digest(hash.String()), out: "/nonexistent/out"}
	if r, err := o.pullAndExtract(t.Context(), s.store, io.Discard); err != nil || r != (Result{Digest: o.have}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestPullTLS(t *testing.T) {
	var certificate []byte
	s := newShelf(t, func(server *httptest.Server) {
		server.StartTLS()
		certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	})
	s.push("latest", s.image("one"))
	// Without a configuration the resolver trusts every server of this machine.
	s.configure("server = \"https://%s\"\n", s.host)
	s.says(s.ref("latest"), "certificate of "+s.host, "not trusted", "/etc/ssl/ember.d")
	s.configure("server = \"http://%s\"\n", s.host)
	s.says(s.ref("latest"), "does not understand plain HTTP", "insecure_registries")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	s.must(os.WriteFile(ca, certificate, 0o644))
	s.configure("server = \"https://%s\"\nca = %q\n", s.host, ca)
	if mark, err := s.fetch(s.ref("latest")); mark != "one" || err != nil {
		t.Errorf("%q, %v", mark, err)
	}
}

func TestPullPlain(t *testing.T) {
	s := newShelf(t, (*httptest.Server).Start)
	s.push("latest", s.image("one"))
	s.configure("server = \"https://%s\"\n", s.host)
	s.says(s.ref("latest"), "speaks plain HTTP", "insecure_registries")
	s.configure("server = \"http://%s\"\n", s.host)
	if mark, err := s.fetch(s.ref("latest")); mark != "one" || err != nil {
		t.Errorf("%q, %v", mark, err)
	}
}

func TestPullWithPassword(t *testing.T) {
	s := newShelf(t, (*httptest.Server).Start)
	s.push("latest", s.image("one"))
	s.instead(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "p" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.registry.ServeHTTP(w, r)
	})
	s.says(s.ref("latest"), "401 Unauthorized", "registry_password")
	header := func(password string) {
		s.configure("server = \"http://%s\"\n[header]\nAuthorization = \"Basic %s\"\n", s.host, base64.StdEncoding.EncodeToString([]byte("u:"+password)))
	}
	header("wrong")
	s.says(s.ref("latest"), "401 Unauthorized")
	header("p")
	if mark, err := s.fetch(s.ref("latest")); mark != "one" || err != nil {
		t.Errorf("%q, %v", mark, err)
	}
}

// TestPullWithToken is for registries such as ghcr.io, which take passwords only for
// a token.
func TestPullWithToken(t *testing.T) {
	s := newShelf(t, (*httptest.Server).Start)
	s.push("latest", s.image("one"))
	s.instead(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && user == "u" && password == "p":
			io.WriteString(w, `{"token": "t"}`)
		case r.URL.Path == "/token":
			w.WriteHeader(http.StatusForbidden)
		case r.Header.Get("Authorization") == "Bearer t":
			s.registry.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x"`, s.host))
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	s.says(s.ref("latest"), "403 Forbidden", "registry_password")
	s.configure("server = \"http://%s\"\n[header]\nAuthorization = \"Basic %s\"\n", s.host, base64.StdEncoding.EncodeToString([]byte("u:p")))
	if mark, err := s.fetch(s.ref("latest")); mark != "one" || err != nil {
		t.Errorf("%q, %v", mark, err)
	}
}

func TestPullStatus(t *testing.T) {
	s := newShelf(t, (*httptest.Server).Start)
	for status, words := range map[int]string{403: "403 Forbidden", 500: "has a fault (500", 418: "418 I'm a teapot"} {
		s.instead(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
		s.says(s.ref("latest"), words)
	}
}

func TestPullRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := newShelf(t, (*httptest.Server).Start)
	s.says(l.Addr().String()+"/x:latest", "refuses connections", l.Addr().String())
}

// TestPullBreaksOff has the registry die in the middle of a layer, and come back.
func TestPullBreaksOff(t *testing.T) {
	s := newShelf(t, (*httptest.Server).Start)
	raw := archive(t, "tink-agent "+ours(strings.Repeat("x", 1<<20)))
	layer := static.NewLayer(raw, types.OCIUncompressedLayer)
	s.push("latest", s.of(runtime.GOARCH, layer))
	hash, err := layer.Digest()
	s.must(err)
	isLayer := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/blobs/"+hash.String()) }
	breakOff := func() {
		var dead atomic.Bool
		s.instead(func(w http.ResponseWriter, r *http.Request) {
			if dead.Load() {
				panic(http.ErrAbortHandler)
			}
			if isLayer(r) {
				dead.Store(true)
				w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
				w.Write(raw[:1<<19])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			s.registry.ServeHTTP(w, r)
		})
		_, err := s.fetch(s.ref("latest"))
		if text := sentence(s.ref("latest"), err); !strings.Contains(text, "broke off in the middle") || !resumable(err) {
			t.Errorf("%s; resumable %v; %v", text, resumable(err), err)
		}
	}
	works := func() {
		t.Helper()
		if mark, err := s.fetch(s.ref("latest")); len(mark) != 1<<20 || err != nil {
			t.Errorf("%d bytes, %v", len(mark), err)
		}
	}

	breakOff()
	s.instead(s.registry.ServeHTTP) // which does not know how to go on from the middle
	s.says(s.ref("latest"), "416")
	works()

	s.must(s.store.Delete(t.Context(), digest.Digest(hash.String())))
	breakOff()
	var from atomic.Value
	s.instead(func(w http.ResponseWriter, r *http.Request) {
		if isLayer(r) {
			from.CompareAndSwap(nil, r.Header.Get("Range"))
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(raw))
			return
		}
		s.registry.ServeHTTP(w, r)
	})
	works()
	if r, _ := from.Load().(string); !strings.HasPrefix(r, "bytes=") || strings.HasPrefix(r, "bytes=0-") {
		t.Errorf("the layer was asked for from %q, not from where it broke off", r)
	}
}

func TestPullWrongBytes(t *testing.T) {
	s := newShelf(t, (*httptest.Server).Start)
	im := s.image("one")
	s.push("latest", im)
	layers, err := im.Layers()
	s.must(err)
	hash, err := layers[0].Digest()
	s.must(err)
	size, err := layers[0].Size()
	s.must(err)
	s.instead(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/blobs/"+hash.String()) {
			w.Write(bytes.Repeat([]byte("x"), int(size)))
			return
		}
		s.registry.ServeHTTP(w, r)
	})
	_, err = s.fetch(s.ref("latest"))
	if text := sentence(s.ref("latest"), err); !strings.Contains(text, "does not have the digest") || resumable(err) {
		t.Errorf("%s; resumable %v; %v", text, resumable(err), err)
	}
}
