package page

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/view"
)

const failing = "failing" // of protocol.Health

// row is a machine in the list.
type row struct {
	Node, Name, About string
	State             string
	Why               string // for some states
	Tier              protocol.Tier
	Time              time.Time // of the last verdict, zero for none
	Image             string
	Overlay           string
	Version           uint64
	Boot, Health      string
	Stage             string
	Since             time.Duration

	search string // everything, in lower case
	rank   int
}

func newRow(s *store.Summary) row {
	r := row{Node: s.Node, State: view.StateOf(s)}
	v := s.Last()
	c := claims(s)
	r.Name, r.About = names(s.Node, c)
	r.Image, r.Boot = c.Image, c.Boot
	if v != nil {
		r.Time, r.Tier = v.Time, v.Tier
	}
	// What runs on a machine is what it proved last, whatever somebody has asked for since.
	if p := s.Proof; p != nil {
		r.Overlay, r.Version, r.Health, r.Stage, r.Since = p.Overlay, p.Version, p.Health, p.Stage, p.Since
		r.Image, r.Boot = p.Claims.Image, p.Claims.Boot
	} else if s.Granted != nil {
		r.Overlay, r.Version = s.Granted.Overlay, s.Granted.Version
	}
	if s.Waiting != nil && r.Time.IsZero() {
		r.Time = s.Waiting.Last
	}
	if r.State == view.Refused {
		r.Why = v.Code
	}
	r.rank = slices.Index(view.States, r.State)
	if r.State == view.Attested && r.Health == failing {
		r.rank = slices.Index(view.States, view.Granted)
	}
	note, address := "", ""
	if s.Machine != nil {
		note = s.Machine.Note
	}
	if v != nil {
		address = v.Address
	}
	r.search = strings.ToLower(strings.Join([]string{s.Node, c.Hostname, c.Serial, c.Vendor, c.Model, c.Image, r.Overlay, note, address, r.Why}, "\x00"))
	return r
}

// claims are those of the last time that somebody asked, of a proof first.
func claims(s *store.Summary) protocol.Claims {
	switch {
	case s.Proof != nil:
		return s.Proof.Claims
	case s.Last() != nil:
		return s.Last().Claims
	case s.Waiting != nil:
		return s.Waiting.Claims
	}
	return protocol.Claims{}
}

// names are what a machine is called and what stands below: its host name, or what else it is known by.
func names(node string, c protocol.Claims) (name, about string) {
	model := strings.TrimSpace(c.Vendor + " " + c.Model)
	serial := ""
	if c.Serial != "" {
		serial = "serial " + c.Serial
	}
	var parts []string
	for _, part := range []string{c.Hostname, model, serial} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 || c.Hostname == "" && serial == "" {
		parts = slices.Insert(parts, 0, short(node))
	} else if c.Hostname == "" {
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
		return cmp.Or(cmp.Compare(a.rank, b.rank), b.Time.Compare(a.Time), cmp.Compare(a.Node, b.Node))
	})
	f.last, f.cost = snapshot{rows, start}, f.now().Sub(start)
	return f.last, nil
}
