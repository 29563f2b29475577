package fetch

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/v2/plugins/content/local"
)

// TestRedirect has registries that send machines elsewhere for layers. The password and its token are not shown to a
// host of another name, but to another port of the same.
func TestRedirect(t *testing.T) {
	const token = "Bearer t"
	password := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))
	s := newShelf(t, (*httptest.Server).Start)
	s.push("latest", s.image("one"))
	s.configure("server = \"http://%s\"\n[header]\nAuthorization = [%q]\n", s.host, password)
	var shown atomic.Value
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Store(r.Header.Get("Authorization"))
		s.registry.ServeHTTP(w, r)
	}))
	t.Cleanup(storage.Close)
	_, port, err := net.SplitHostPort(storage.Listener.Addr().String())
	s.must(err)
	for _, tt := range []struct{ wants, elsewhere, shown string }{
		{password, "localhost", ""},
		{password, "127.0.0.1", password},
		{token, "localhost", ""},
		{token, "127.0.0.1", token},
	} {
		s.instead(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/token":
				io.WriteString(w, `{"token": "t"}`)
			case r.Header.Get("Authorization") != tt.wants:
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x"`, s.host))
				w.WriteHeader(http.StatusUnauthorized)
			case strings.Contains(r.URL.Path, "/blobs/"):
				http.Redirect(w, r, "http://"+net.JoinHostPort(tt.elsewhere, port)+r.URL.Path, http.StatusTemporaryRedirect)
			default:
				s.registry.ServeHTTP(w, r)
			}
		})
		s.store, err = local.NewStore(t.TempDir())
		s.must(err)
		if mark, err := s.fetch(s.ref("latest")); mark != "one" || err != nil {
			t.Errorf("%+v: %q, %v", tt, mark, err)
		}
		if got := shown.Swap("no request"); got != tt.shown {
			t.Errorf("%+v: it is shown %q", tt, got)
		}
	}
}
