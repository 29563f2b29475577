package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/view"
)

// Nodes is a page of a list of machines.
type Nodes struct {
	Nodes []view.Row `json:"nodes"`
	// Next is what comes after this page begins behind; "" if nothing does.
	Next string `json:"next,omitempty"`
}

func (s *Server) serveNodes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/nodes", func(w http.ResponseWriter, r *http.Request) {
		limit := Page
		if text := r.FormValue("limit"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				invalid(w, errors.New("limit is a number from 1 on"))
				return
			}
			limit = min(n, Page)
		}
		page, err := s.nodes(r.Context(), filterOf(r.URL.Query()), r.FormValue("after"), limit)
		answer(w, page, err)
	})
	mux.HandleFunc("GET /v1/nodes/{node}", func(w http.ResponseWriter, r *http.Request) {
		if err := store.CheckNode(r.PathValue("node")); err != nil {
			invalid(w, err)
			return
		}
		n, err := s.node(r.Context(), r.PathValue("node"))
		answer(w, n, err)
	})
}

func (s *Server) nodes(ctx context.Context, f view.Filter, after string, limit int) (Nodes, error) {
	page := Nodes{Nodes: []view.Row{}}
	// One more says whether there is a next page.
	_, err := s.Registry.Find(ctx, after, limit+1, func(summary *store.Summary) bool {
		row := view.RowOf(summary)
		if !f.Match(&row) {
			return false
		}
		if len(page.Nodes) == limit {
			page.Next = page.Nodes[limit-1].Node
		} else {
			page.Nodes = append(page.Nodes, row)
		}
		return true
	})
	return page, err
}

func (s *Server) node(ctx context.Context, node string) (view.Node, error) {
	summary, err := s.Registry.Summary(ctx, node)
	if err != nil {
		return view.Node{}, err
	}
	proof, err1 := known(s.Registry.ProofEvidence(ctx, node))
	refusal, err2 := known(s.Registry.RefusalEvidence(ctx, node))
	reports, err3 := s.Registry.Reports(ctx, node)
	if err := errors.Join(err1, err2, err3); err != nil {
		return view.Node{}, err
	}
	return view.NodeOf(&summary, proof, refusal, reports), nil
}

// known is nil for what is not there.
func known(e store.Evidence, err error) (*store.Evidence, error) {
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return &e, nil
}

// fields are the parts of a filter, by their names in a query.
func fields(f *view.Filter) map[string]*string {
	return map[string]*string{
		"node": &f.Node, "state": &f.State, "tier": &f.Tier, "verdict": &f.Verdict, "boot": &f.Boot, "image": &f.Image,
		"overlay": &f.Overlay, "health": &f.Health, "search": &f.Search,
	}
}

func filterOf(query url.Values) (f view.Filter) {
	for name, field := range fields(&f) {
		*field = query.Get(name)
	}
	return f
}

// Nodes lists at most limit machines whose names come after after.
func (c *Client) Nodes(ctx context.Context, f view.Filter, after string, limit int) (page Nodes, err error) {
	query := url.Values{"after": {after}, "limit": {strconv.Itoa(limit)}}
	for name, field := range fields(&f) {
		if *field != "" {
			query.Set(name, *field)
		}
	}
	err = c.get(ctx, "/v1/nodes?"+query.Encode(), &page)
	return page, err
}

// Node is all that is known of a machine.
func (c *Client) Node(ctx context.Context, node string) (n view.Node, err error) {
	err = c.get(ctx, "/v1/nodes/"+url.PathEscape(node), &n)
	return n, err
}
