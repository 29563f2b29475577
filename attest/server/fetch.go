package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// stall is how long a client may take nothing of an answer.
const stall = time.Minute

// overlay serves ciphertext, also parts of it (RFC 9110, 14).
func (s *Server) overlay(w http.ResponseWriter, r *http.Request) {
	now, from := s.Now(), address(r, s.Proxies)
	if wait, _ := s.limiters.addresses.take(site(from), now); wait > 0 {
		s.Counters.Overlay(CodeRateAddress)
		(&refusal{status: http.StatusTooManyRequests, code: CodeRateAddress, message: "too many requests from your address", after: wait}).write(w)
		return
	}
	o := s.shelf.find(strings.TrimPrefix(r.URL.Path, "/"), now)
	if o == nil {
		s.Counters.Overlay(CodeNoOverlay)
		(&refusal{status: http.StatusNotFound, code: CodeNoOverlay, message: "there is no such overlay, or no longer"}).write(w)
		return
	}
	if s.settings.Load().PrivateOverlays {
		if err := s.mayFetch(r, o, now); err != nil {
			problem := refused(err)
			s.Counters.Overlay(problem.code)
			problem.write(w)
			return
		}
	}
	s.Counters.Overlay(CodeAllowed)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", fmt.Sprintf("%q", o.manifest.Ciphertext.SHA256))
	size := o.manifest.Ciphertext.Size
	http.ServeContent(&impatient{w, http.NewResponseController(w)}, r, "", time.Time{}, io.NewSectionReader(o.file, 0, size))
}

// mayFetch is for private overlays: the machine has a certificate of ours and its last grant has this overlay.
func (s *Server) mayFetch(r *http.Request, o *Overlay, now time.Time) error {
	none := &refusal{status: http.StatusForbidden, code: CodeNoCertificate, message: "this overlay is for machines that attested with it"}
	leaf := certificate(r)
	if leaf == nil || now.After(leaf.NotAfter) { // it may have ended since the connection began
		return none
	}
	node := leaf.Subject.CommonName
	if err := s.checkRevoked(r.Context(), node); err != nil {
		return err
	}
	last, _, err := s.Registry.Last(r.Context(), node)
	if err != nil {
		return err
	}
	if last.Overlay != o.manifest.Name {
		return none
	}
	return nil
}

// impatient gives up on a client that does not read.
type impatient struct {
	http.ResponseWriter
	controller *http.ResponseController
}

func (w *impatient) Write(b []byte) (int, error) {
	if err := w.controller.SetWriteDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}
