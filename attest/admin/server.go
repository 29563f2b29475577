// Package admin is what operators do to a running attestation server: an http.Handler, and a client for it.
// Who may call the handler is its listener's affair: a unix socket in a private folder, or mutual TLS.
//
//	GET  /v1/queue?after=NODE            machines that wait, at most Page
//	POST /v1/machines/NODE/enroll        puts a machine on the list
//	POST /v1/machines/NODE/approve       the same, if it is in the queue
//	POST /v1/machines/NODE/dismiss       takes it off the queue
//	POST /v1/machines/NODE/revoke        lets it in no more
//	POST /v1/machines/NODE/forget        unsays enroll or revoke
//	GET  /v1/nodes?after=NODE&limit=N    what is known of machines, at most Page; node=, state=, tier=, verdict=,
//	                                     boot=, image=, overlay=, health=, search= say of which (view.Filter)
//	GET  /v1/nodes/NODE                  all that is known of one
//	GET  /v1/overlays                    the overlays, with their versions
//	GET  /v1/overlays/NAME               one of them
//	GET  /v1/overlays/NAME/N/manifest    the signed manifest of version N
//	POST /v1/overlays/NAME               publishes: multipart/form-data with the overlay's files, the manifest first
//	POST /v1/overlays/NAME/N/reissue     publishes the contents of version N under the manifest that is the body
//	POST /v1/overlays/NAME/N/downgrade   publishes version N, as it is, in the place of a newer one
//	GET  /v1/backup                      a copy of the store, where Server.Backup gives one
//
// A POST for a machine may have a JSON body, {"note": "..."}. Answers are JSON, but for a manifest; an error is a
// protocol.Problem.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// stall is how long a client may send nothing of a request, or take nothing of an answer.
const stall = time.Minute

// Codes of problems.
const (
	codeEnrolled  = "enrolled"
	codeRevoked   = "revoked"
	codeNotFound  = "not-found"
	codeNoOverlay = "overlay-not-found"
	codeOlder     = "overlay-older"
	codeOther     = "overlay-other"
	codeUnfit     = "overlay-unfit"
	codeNoFolder  = "overlay-no-folder"
	codeInvalid   = "invalid"
	codeInternal  = "server-error"
	// CodeUnknownOperator is for the listener to say, of a connection whose key is no operator's any longer.
	CodeUnknownOperator = "operator-unknown"
)

// ErrNoFolder is that the server has no folder of overlays.
var ErrNoFolder = errors.New("this attestation server has no folder of overlays")

// problems are the errors that callers branch on, on both sides. An error's own words are told where it has more
// of them than these.
var problems = []struct {
	err     error
	code    string
	status  int
	details bool
}{
	{store.ErrEnrolled, codeEnrolled, http.StatusConflict, false},
	{store.ErrRevoked, codeRevoked, http.StatusConflict, false},
	{store.ErrNotFound, codeNotFound, http.StatusNotFound, false},
	{depot.ErrNotFound, codeNoOverlay, http.StatusNotFound, false},
	{store.ErrOlder, codeOlder, http.StatusConflict, true},
	{depot.ErrOther, codeOther, http.StatusConflict, false},
	{depot.ErrUnfit, codeUnfit, http.StatusUnprocessableEntity, true},
	{ErrNoFolder, codeNoFolder, http.StatusNotFound, false},
}

// Action is what an operator has done, and how it ended.
type Action struct {
	By, Action string
	Node       string // the machine that it was done to, or
	Overlay    string // the overlay, and its version if it is about one
	Version    uint64
	Err        error
}

// Server is what the handler needs. All is required.
type Server struct {
	Registry *store.Registry
	// Overlays is the folder of overlays, nil if there is none.
	Overlays func() *depot.Depot
	// Published has the attestation server read an overlay that has changed, and returns when it has. The error
	// is of one that it does not use.
	Published func(ctx context.Context, name string, version uint64) error
	// Who names the operator of a request.
	Who func(*http.Request) string
	// Audit writes down what was done.
	Audit func(context.Context, Action)
	// Backup writes a copy of the store. It is optional: the copy has the keys of nonces and receipts in it, so not
	// everybody who is an operator may have it.
	Backup func(io.Writer) error
}

// Handler serves operators.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	s.serveMachines(mux)
	s.serveNodes(mux)
	s.serveOverlays(mux)
	if s.Backup != nil {
		mux.HandleFunc("GET /v1/backup", s.backup)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		controller.SetReadDeadline(time.Now().Add(stall))
		controller.SetWriteDeadline(time.Time{}) // net/http keeps that of the request before
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// audit writes an action of a request down.
func (s *Server) audit(r *http.Request, a Action) {
	a.By = s.Who(r)
	s.Audit(context.WithoutCancel(r.Context()), a)
}

func answer(w http.ResponseWriter, value any, err error) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stall))
	if err == nil {
		write(w, http.StatusOK, value)
		return
	}
	for _, p := range problems {
		if errors.Is(err, p.err) {
			text := p.err.Error()
			if p.details {
				text = err.Error()
			}
			write(w, p.status, protocol.Problem{Code: p.code, Message: text})
			return
		}
	}
	write(w, http.StatusInternalServerError, protocol.Problem{Code: codeInternal, Message: err.Error()})
}

func invalid(w http.ResponseWriter, err error) {
	write(w, http.StatusBadRequest, protocol.Problem{Code: codeInvalid, Message: err.Error()})
}

func write(w http.ResponseWriter, status int, value any) {
	b, err := json.Marshal(value)
	if err != nil { // never of the types here
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(b, '\n')) // an error is the other side's
}
