package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/overlay/manifest"
)

// multipartRoom is how much a multipart body may have besides a ciphertext, in bytes.
const multipartRoom = 1 << 20

func (s *Server) serveOverlays(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/overlays", s.overlays(func(w http.ResponseWriter, r *http.Request, d *depot.Depot) {
		list, err := d.List(r.Context())
		answer(w, list, err)
	}))
	mux.HandleFunc("GET /v1/overlays/{name}", s.overlays(func(w http.ResponseWriter, r *http.Request, d *depot.Depot) {
		o, err := d.Get(r.Context(), r.PathValue("name"))
		answer(w, o, err)
	}))
	mux.HandleFunc("GET /v1/overlays/{name}/{version}/manifest", s.overlays(func(w http.ResponseWriter, r *http.Request, d *depot.Depot) {
		version, err := strconv.ParseUint(r.PathValue("version"), 10, 64)
		if err != nil {
			invalid(w, errors.New("a version is a number"))
			return
		}
		signed, err := d.Manifest(r.PathValue("name"), version)
		if err != nil {
			answer(w, nil, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write(signed) // an error is the other side's
	}))
	mux.HandleFunc("POST /v1/overlays/{name}", s.overlays(s.publish))
	s.change(mux, "reissue", func(ctx context.Context, d *depot.Depot, name string, from uint64, body []byte) (depot.Version, error) {
		return d.Reissue(ctx, name, from, body)
	})
	s.change(mux, "downgrade", func(ctx context.Context, d *depot.Depot, name string, version uint64, _ []byte) (depot.Version, error) {
		return d.Downgrade(ctx, name, version)
	})
}

// overlays is a handler that needs the folder of overlays.
func (s *Server) overlays(do func(http.ResponseWriter, *http.Request, *depot.Depot)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if d := s.Overlays(); d != nil {
			do(w, r, d)
			return
		}
		answer(w, nil, ErrNoFolder)
	}
}

func (s *Server) publish(w http.ResponseWriter, r *http.Request, d *depot.Depot) {
	name, controller := r.PathValue("name"), http.NewResponseController(w)
	r.Body = http.MaxBytesReader(w, &patient{r.Body, controller}, d.MaxSize+multipartRoom)
	parts, err := r.MultipartReader()
	if err != nil {
		invalid(w, err)
		return
	}
	v, err := d.Publish(context.WithoutCancel(r.Context()), name, func() (string, io.Reader, error) {
		part, err := parts.NextPart()
		if err != nil {
			controller.SetReadDeadline(time.Time{}) // what follows takes as long as the disk does
			return "", nil, err
		}
		return part.FormName(), part, nil
	})
	// A client that is still sending would not read why it need not.
	io.Copy(io.Discard, r.Body)
	s.published(w, r, "overlay-publish", name, v, err)
}

// change is for a POST about a version that is there already.
func (s *Server) change(mux *http.ServeMux, action string, do func(context.Context, *depot.Depot, string, uint64, []byte) (depot.Version, error)) {
	mux.HandleFunc("POST /v1/overlays/{name}/{version}/"+action, s.overlays(func(w http.ResponseWriter, r *http.Request, d *depot.Depot) {
		version, err := strconv.ParseUint(r.PathValue("version"), 10, 64)
		if err != nil {
			invalid(w, errors.New("a version is a number"))
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, manifest.MaxSize))
		if err != nil {
			invalid(w, err)
			return
		}
		http.NewResponseController(w).SetReadDeadline(time.Time{}) // the ciphertext is read again, whatever its size
		v, err := do(context.WithoutCancel(r.Context()), d, r.PathValue("name"), version, body)
		s.published(w, r, "overlay-"+action, r.PathValue("name"), v, err)
	}))
}

// published writes down and answers what has become of a version.
func (s *Server) published(w http.ResponseWriter, r *http.Request, action, name string, v depot.Version, err error) {
	a := Action{Action: action, Overlay: name, Err: err}
	if v.Manifest != nil {
		a.Version = v.Version
	}
	s.audit(r, a)
	if err == nil {
		err = s.Published(r.Context(), name, v.Version)
	}
	answer(w, v, err)
}

// patient reads what comes, as long as something does.
type patient struct {
	io.ReadCloser
	controller *http.ResponseController
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.controller.SetReadDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return p.ReadCloser.Read(b)
}
