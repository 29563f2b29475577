package page

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/view"
)

const failing = "failing" // of protocol.Health

// row is a machine in the list.
type row struct {
	view.Row
	Name, About string
	Asked       time.Time // last, by whomever, zero for never

	search string // everything, in lower case
	rank   int
}

func newRow(s *store.Summary) row {
	r := row{Row: view.RowOf(s)}
	r.Name, r.About = names(&r.Row)
	r.Asked = r.Time
	if s.Waiting != nil && r.Asked.IsZero() {
		r.Asked = s.Waiting.Last
	}
	r.rank = slices.Index(view.States, r.State)
	if r.State == view.Attested && r.Health == failing {
		r.rank = slices.Index(view.States, view.Granted)
	}
	reason := ""
	if r.State == view.Refused {
		reason = r.Verdict
	}
	r.search = strings.ToLower(strings.Join([]string{r.Node, r.Hostname, r.Serial, r.Vendor, r.Model, r.Image, r.Overlay, r.Note, r.Address, reason}, "\x00"))
	return r
}

// names are what a machine is called and what stands below: its host name, or what else it is known by.
func names(r *view.Row) (name, about string) {
	model, serial := strings.TrimSpace(r.Vendor+" "+r.Model), labelled("serial ", r.Serial)
	var parts []string
	for _, part := range []string{r.Hostname, model, serial} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 || r.Hostname == "" && serial == "" {
		parts = slices.Insert(parts, 0, short(r.Node))
	} else if r.Hostname == "" {
		parts = []string{serial, model}
	}
	return parts[0], strings.Trim(strings.Join(parts[1:], ", "), ", ")
}

// short is the beginning of a digest, enough to tell machines apart by eye.
func short(digest string) string {
	return digest[:min(len(digest), 12)]
}

// snapshot is all machines as they were, those that need somebody first.
type snapshot struct {
	rows []row
	at   time.Time
}

// fleet keeps a snapshot for a while, so that many who look, or one who looks at many pages, do not have all be
// read each time.
type fleet struct {
	registry *store.Registry
	now      func() time.Time

	mu   sync.Mutex
	last snapshot
	cost time.Duration // of making it
}

const (
	// fresh is how old a snapshot may be at least; one that takes long to make may be ten times as old as that.
	fresh = 2 * time.Second
	batch = 1000
)

func (f *fleet) snapshot(ctx context.Context) (snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	start := f.now()
	if !f.last.at.IsZero() && start.Sub(f.last.at) < max(fresh, 10*f.cost) {
		return f.last, nil
	}
	var rows []row
	for after := ""; ; {
		list, err := f.registry.Summaries(ctx, after, batch)
		if err != nil {
			return snapshot{}, err
		}
		for i := range list {
			rows = append(rows, newRow(&list[i]))
		}
		if len(list) < batch {
			break
		}
		after = list[batch-1].Node
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), b.Asked.Compare(a.Asked), cmp.Compare(a.Node, b.Node))
	})
	f.last, f.cost = snapshot{rows, start}, f.now().Sub(start)
	return f.last, nil
}
