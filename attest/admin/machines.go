package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

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

func (s *Server) serveMachines(mux *http.ServeMux) {
	r := s.Registry
	mux.HandleFunc("GET /v1/queue", func(w http.ResponseWriter, req *http.Request) {
		list, err := r.Queue(req.Context(), req.FormValue("after"), Page)
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
				invalid(w, err)
				return
			}
			// What has begun is finished, so that the audit log is right about it.
			err = do(context.WithoutCancel(req.Context()), node, n.Note, s.Who(req))
			s.audit(req, Action{Action: action, Node: node, Err: err})
			answer(w, struct{}{}, err)
		})
	}
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
