package registry

import (
	"net/http"
	"strings"
)

// Fault answers a request in place of the registry, which it may ask itself.
type Fault func(w http.ResponseWriter, r *http.Request, registry http.Handler)

// Status answers every request with an error, such as http.StatusUnauthorized
// to everyone, or http.StatusServiceUnavailable.
func Status(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		fail(w, status, strings.ToUpper(strings.ReplaceAll(http.StatusText(status), " ", "_")), http.StatusText(status))
	}
}

// Cut cuts the connection of each request for a blob after n bytes of it.
func Cut(n int) Fault {
	return onBlobs(func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		registry.ServeHTTP(&cutWriter{ResponseWriter: w, left: n}, r)
	})
}

// Corrupt changes the first byte of each blob.
func Corrupt() Fault {
	return onBlobs(func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		registry.ServeHTTP(&corruptWriter{ResponseWriter: w}, r)
	})
}

// onBlobs is a fault that only requests for blobs meet.
func onBlobs(f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			f(w, r, registry)
		} else {
			registry.ServeHTTP(w, r)
		}
	}
}

// cutWriter writes so many bytes and cuts the connection.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(b []byte) (int, error) {
	if len(b) <= w.left {
		w.left -= len(b)
		return w.ResponseWriter.Write(b)
	}
	w.ResponseWriter.Write(b[:w.left])
	http.NewResponseController(w.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

type corruptWriter struct {
	http.ResponseWriter
	begun bool
}

func (w *corruptWriter) Write(b []byte) (int, error) {
	if !w.begun && len(b) > 0 {
		w.begun = true
		changed := append([]byte{^b[0]}, b[1:]...)
		return w.ResponseWriter.Write(changed)
	}
	return w.ResponseWriter.Write(b)
}
