package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// filled is a store with an image, some/image:tag.
func filled(t *testing.T) *Store {
	t.Helper()
	image, err := random.Image(100_000, 2)
	if err != nil {
		t.Fatal(err)
	}
	store := NewStore()
	if err := store.Push("some/image:tag", image); err != nil {
		t.Fatal(err)
	}
	return store
}

// pull gets the image and reads all of it.
func pull(t *testing.T, r *Registry, options ...remote.Option) error {
	t.Helper()
	ref, err := name.ParseReference(r.Address()+"/some/image:tag", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if r.options.TLS != nil {
		if ref, err = name.ParseReference(strings.Replace(r.Address(), "127.0.0.1", "registry.test", 1) + "/some/image:tag"); err != nil {
			t.Fatal(err)
		}
	}
	options = append(options, remote.WithContext(t.Context()), remote.WithRetryStatusCodes(), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
	var image v1.Image
	if image, err = remote.Image(ref, options...); err != nil {
		return err
	}
	return validate.Image(image)
}

func TestPlain(t *testing.T) {
	r := Start(t, filled(t), listen(t, "127.0.0.1:0"), Options{})
	if err := pull(t, r); err != nil {
		t.Error(err)
	}
	manifests := r.Count(func(q Request) bool { return strings.HasSuffix(q.Path, "/manifests/tag") })
	blobs := map[string]bool{}
	for _, q := range r.Requests() {
		if q.Method == http.MethodGet && strings.Contains(q.Path, "/blobs/") {
			blobs[q.Path] = true
		}
	}
	if manifests == 0 || len(blobs) != 3 {
		t.Errorf("pulling took %d requests for a manifest and asked for %d blobs", manifests, len(blobs))
	}
}

func TestAuthentication(t *testing.T) {
	for _, bearer := range []bool{false, true} {
		r := Start(t, filled(t), listen(t, "127.0.0.1:0"), Options{User: "u", Password: "p", Bearer: bearer})
		if err := pull(t, r, remote.WithAuth(&authn.Basic{Username: "u", Password: "p"})); err != nil {
			t.Errorf("bearer=%v: %v", bearer, err)
		}
		for _, auth := range []authn.Authenticator{authn.Anonymous, &authn.Basic{Username: "u", Password: "wrong"}} {
			var answer *transport.Error
			if err := pull(t, r, remote.WithAuth(auth)); !errors.As(err, &answer) || answer.StatusCode != http.StatusUnauthorized {
				t.Errorf("bearer=%v, without the password: %v", bearer, err)
			}
		}
	}
}

// TestTokensForAll has a registry that gives everybody a token, and nobody an image without one.
func TestTokensForAll(t *testing.T) {
	r := Start(t, filled(t), listen(t, "127.0.0.1:0"), Options{Bearer: true})
	if err := pull(t, r); err != nil {
		t.Error(err)
	}
	if n := r.Count(func(q Request) bool { return q.Path == tokenPath }); n == 0 {
		t.Error("nobody asked for a token")
	}
	answer, err := http.Get("http://" + r.Address() + "/v2/image/manifests/tag")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token the status is %s", answer.Status)
	}
}

func TestTLS(t *testing.T) {
	// The certificate of net/http/httptest, which is good for 127.0.0.1 and example.com.
	origin := httptest.NewTLSServer(http.NotFoundHandler())
	defer origin.Close()
	r := Start(t, filled(t), listen(t, "127.0.0.1:0"), Options{TLS: &origin.TLS.Certificates[0]})
	pool := x509.NewCertPool()
	pool.AddCert(origin.Certificate())
	with := func(roots *x509.CertPool) remote.Option {
		return remote.WithTransport(&http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", r.Address())
			},
		})
	}
	if err := pull(t, r, with(pool)); err != nil {
		t.Error(err)
	}
	var unknown x509.UnknownAuthorityError
	if err := pull(t, r, with(x509.NewCertPool())); !errors.As(err, &unknown) {
		t.Errorf("without the authority: %v", err)
	}
}

func TestFaults(t *testing.T) {
	r := Start(t, filled(t), listen(t, "127.0.0.1:0"), Options{})
	for what, f := range map[string]Fault{
		"unauthorized": Status(http.StatusUnauthorized),
		"unavailable":  Status(http.StatusServiceUnavailable),
		"cut":          Cut(10_000),
		"corrupt":      Corrupt(),
	} {
		r.Fail(f)
		if err := pull(t, r); err == nil {
			t.Errorf("%s: pulling succeeded", what)
		}
	}
	r.Fail(nil)
	if err := pull(t, r); err != nil {
		t.Errorf("the registry is well again: %v", err)
	}
}

// TestCut reads what comes of a blob.
func TestCut(t *testing.T) {
	r := Start(t, filled(t), listen(t, "127.0.0.1:0"), Options{})
	if err := pull(t, r); err != nil {
		t.Fatal(err)
	}
	r.Fail(Cut(50_000))
	got := 0
	for _, q := range r.Requests() {
		if !strings.Contains(q.Path, "/blobs/") {
			continue
		}
		response, err := http.Get("http://" + r.Address() + q.Path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err != nil {
			got = int(n)
		}
	}
	if got != 50_000 {
		t.Errorf("a blob ended with an error after %d bytes", got)
	}
}

func TestGoAway(t *testing.T) {
	r := Start(t, filled(t), listen(t, "127.0.0.1:0"), Options{})
	asked := make(chan struct{}, 10)
	r.Fail(onBlobs(func(_ http.ResponseWriter, q *http.Request, _ http.Handler) {
		asked <- struct{}{}
		<-q.Context().Done()
	}))
	pulled := make(chan error, 1)
	go func() { pulled <- pull(t, r) }()
	select {
	case <-asked:
	case err := <-pulled:
		t.Fatalf("it was pulled without a blob: %v", err)
	}
	r.GoAway()
	if err := <-pulled; err == nil {
		t.Error("pulling succeeded from a registry that went away")
	}
	if err := pull(t, r); err == nil {
		t.Error("pulling succeeded while the registry was away")
	}
	r.Fail(nil)
	r.ComeBack(listen(t, r.Address()))
	if err := pull(t, r); err != nil {
		t.Errorf("the registry is back: %v", err)
	}
}
