package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// stall is how long a client may take nothing of an answer.
const stall = time.Minute

// overlay serves ciphertext, also parts of it (RFC 9110, 14), and writes down who took how much.
func (s *Server) overlay(w http.ResponseWriter, r *http.Request) {
	d := &decision{start: s.Now(), address: address(r, s.Proxies), node: certified(r, s.Now())}
	ctx := context.WithoutCancel(r.Context())
	wait, first := s.fromAddress(d.address, d.start)
	if wait > 0 {
		problem := &refusal{status: http.StatusTooManyRequests, code: CodeRateAddress, message: "too many requests from your address", after: wait}
		if first { // an attacker does not fill the log
			s.Audit.fetch(ctx, d.refused(problem), 0, s.Now())
		}
		s.Counters.Overlay(problem.code)
		problem.write(w)
		return
	}
	o, err := s.find(r, d)
	if err != nil {
		problem := refused(err)
		s.Audit.fetch(ctx, d.refused(problem), 0, s.Now())
		s.Counters.Overlay(problem.code)
		problem.write(w)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", fmt.Sprintf("%q", o.manifest.Ciphertext.SHA256))
	size := o.manifest.Ciphertext.Size
	out := &impatient{ResponseWriter: w, controller: http.NewResponseController(w)}
	defer func() { // also if net/http cuts the connection
		d.verdict, d.code = Allow, out.outcome(r.Method)
		s.Audit.fetch(ctx, d, out.sent, s.Now())
		s.Counters.Overlay(d.code)
	}()
	http.ServeContent(out, r, "", time.Time{}, io.NewSectionReader(o.file, 0, size))
}

// find is the overlay that a request is for, if it may have it.
func (s *Server) find(r *http.Request, d *decision) (*Overlay, error) {
	o := s.shelf.find(strings.TrimPrefix(r.URL.Path, "/"), d.start)
	if o == nil {
		return nil, &refusal{
			status: http.StatusNotFound, code: CodeNoOverlay, message: "there is no such overlay, or no longer",
			detail: fmt.Sprintf("there is no overlay %q of version %q, or no longer", r.PathValue("name"), r.PathValue("version")),
		}
	}
	d.overlay, d.version = o.manifest.Name, o.manifest.Version
	if s.settings.Load().PrivateOverlays {
		return o, s.mayFetch(r.Context(), o, d.node)
	}
	return o, nil
}

// certified is the machine whose certificate, one of ours, came with a request; "" for none. It may have ended since
// the connection began.
func certified(r *http.Request, now time.Time) string {
	leaf := certificate(r)
	if leaf == nil || now.After(leaf.NotAfter) {
		return ""
	}
	return leaf.Subject.CommonName
}

// mayFetch is for private overlays: the machine's last grant has this one.
func (s *Server) mayFetch(ctx context.Context, o *Overlay, node string) error {
	none := &refusal{status: http.StatusForbidden, code: CodeNoCertificate, message: "this overlay is for machines that attested with it"}
	if node == "" {
		return none
	}
	if err := s.checkRevoked(ctx, node); err != nil {
		return err
	}
	last, _, err := s.Registry.Last(ctx, node)
	if err != nil {
		return err
	}
	if last.Overlay != o.manifest.Name {
		return none
	}
	return nil
}

// impatient gives up on a client that does not read, and counts what it took.
type impatient struct {
	http.ResponseWriter
	controller *http.ResponseController
	status     int
	sent       int64 // of the body
}

// WriteHeader implements http.ResponseWriter.
func (w *impatient) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *impatient) Write(b []byte) (int, error) {
	if err := w.controller.SetWriteDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	n, err := w.ResponseWriter.Write(b)
	w.sent += int64(n)
	return n, err
}

// outcome is the code of what was sent.
func (w *impatient) outcome(method string) string {
	switch {
	case method == http.MethodHead || w.status != http.StatusOK && w.status != http.StatusPartialContent:
		return CodeNothing
	case strconv.FormatInt(w.sent, 10) != w.Header().Get("Content-Length"):
		return CodeBroken
	}
	return CodeAllowed
}

// refused makes d that of a refusal.
func (d *decision) refused(r *refusal) *decision {
	d.verdict, d.code, d.reason = Refuse, r.code, r.Error()
	return d
}
