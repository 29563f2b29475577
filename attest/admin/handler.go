// Package admin is what operators do to a running attestation server: an http.Handler, and a client for it.
// Who may call the handler is its listener's affair: a unix socket in a private folder, or mutual TLS.
//
//	GET  /v1/queue?after=NODE            machines that wait, at most Page
//	GET  /v1/machines?after=NODE         machines that are enrolled or revoked, at most Page
//	POST /v1/machines/NODE/enroll        puts a machine on the list
//	POST /v1/machines/NODE/approve       the same, if it is in the queue
//	POST /v1/machines/NODE/dismiss       takes it off the queue
//	POST /v1/machines/NODE/revoke        lets it in no more
//	POST /v1/machines/NODE/forget        unsays enroll or revoke
//
// A POST may have a JSON body, {"note": "..."}. Answers are JSON; an error is a protocol.Problem.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

const (
	// Page is how many machines a list has at most.
	Page = 500
	// maxNote is the longest note, in bytes.
	maxNote = 1 << 10
)

// note is the body of a POST.
type note struct {
	Note string `json:"note"`
}

// Codes of problems.
const (
	codeEnrolled = "enrolled"
	codeRevoked  = "revoked"
	codeNotFound = "not-found"
	codeInvalid  = "invalid"
	codeInternal = "server-error"
)

// problems are the errors that callers branch on, on both sides.
var problems = []struct {
	err    error
	code   string
	status int
}{
	{store.ErrEnrolled, codeEnrolled, http.StatusConflict},
	{store.ErrRevoked, codeRevoked, http.StatusConflict},
	{store.ErrNotFound, codeNotFound, http.StatusNotFound},
}

// Handler serves operators. Who names the one of a request. Audit writes down what was done, and how it ended.
func Handler(r *store.Registry, who func(*http.Request) string, audit func(ctx context.Context, who, action, node string, err error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/queue", func(w http.ResponseWriter, req *http.Request) {
		list, err := r.Queue(req.Context(), req.FormValue("after"), Page)
		answer(w, list, err)
	})
	mux.HandleFunc("GET /v1/machines", func(w http.ResponseWriter, req *http.Request) {
		list, err := r.Machines(req.Context(), req.FormValue("after"), Page)
		answer(w, list, err)
	})
	for action, do := range map[string]func(ctx context.Context, node, note, by string) error{
		"enroll":  r.Enroll,
		"approve": r.Approve,
		"revoke":  r.Revoke,
		"dismiss": func(ctx context.Context, node, _, _ string) error { return r.Dismiss(ctx, node) },
		"forget":  func(ctx context.Context, node, _, _ string) error { return r.Forget(ctx, node) },
	} {
		mux.HandleFunc("POST /v1/machines/{node}/"+action, func(w http.ResponseWriter, req *http.Request) {
			node := req.PathValue("node")
			n, err := readNote(req)
			if err == nil {
				err = store.CheckNode(node)
			}
			if err != nil {
				write(w, http.StatusBadRequest, protocol.Problem{Code: codeInvalid, Message: err.Error()})
				return
			}
			// What has begun is finished, so that the audit log is right about it.
			ctx := context.WithoutCancel(req.Context())
			err = do(ctx, node, n.Note, who(req))
			audit(ctx, who(req), action, node, err)
			answer(w, struct{}{}, err)
		})
	}
	return mux
}

func readNote(r *http.Request) (n note, err error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, 2*maxNote))
	if err != nil || len(b) == 0 {
		return n, err
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return n, err
	}
	if len(n.Note) > maxNote {
		return n, errors.New("the note is too long")
	}
	return n, nil
}

func answer(w http.ResponseWriter, value any, err error) {
	if err == nil {
		write(w, http.StatusOK, value)
		return
	}
	for _, p := range problems {
		if errors.Is(err, p.err) {
			write(w, p.status, protocol.Problem{Code: p.code, Message: p.err.Error()})
			return
		}
	}
	write(w, http.StatusInternalServerError, protocol.Problem{Code: codeInternal, Message: err.Error()})
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
