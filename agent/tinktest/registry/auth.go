package registry

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

const tokenPath = "/token"

// authenticator lets those in that know the password.
type authenticator struct {
	Options
	token string // of bearer authentication
}

func newAuthenticator(o Options) authenticator { return authenticator{o, rand.Text()} }

// guard follows the distribution specification's authentication: what is not
// let in is told how to do better.
func (a authenticator) guard(next http.Handler) http.Handler {
	if a.User == "" && !a.Bearer {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		known := user == a.User && password == a.Password
		switch {
		case !a.Bearer && known, a.Bearer && r.Header.Get("Authorization") == "Bearer "+a.token:
			next.ServeHTTP(w, r)
		case !a.Bearer:
			unauthorized(w, `Basic realm="registry"`)
		case r.URL.Path == tokenPath && known:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{"token": a.token, "expires_in": 300})
		case r.URL.Path == tokenPath:
			unauthorized(w, `Basic realm="token service"`)
		default:
			scheme := "http"
			if r.TLS != nil {
				scheme = "https"
			}
			unauthorized(w, fmt.Sprintf(`Bearer realm="%s://%s%s",service="registry",scope="%s"`, scheme, r.Host, tokenPath, scope(r.URL.Path)))
		}
	})
}

func unauthorized(w http.ResponseWriter, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// scope is what a request wants, such as repository:tinkerbell/tink-agent:pull.
func scope(path string) string {
	path = strings.TrimPrefix(path, "/v2/")
	for _, kind := range []string{"/manifests/", "/blobs/", "/tags/"} {
		if repository, _, ok := strings.Cut(path, kind); ok {
			return "repository:" + repository + ":pull"
		}
	}
	return ""
}

// fail answers with the distribution specification's error document.
func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
