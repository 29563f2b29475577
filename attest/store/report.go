package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// Report is what a machine has said last in one boot, over a connection that its grant's certificate has
// authenticated. It is the machine's own word.
type Report struct {
	Node        string          `json:"node"`
	Time        time.Time       `json:"time"` // when it came
	Address     string          `json:"address"`
	Certificate string          `json:"certificate"` // of the boot
	Stages      []string        `json:"stages"`      // stage lines
	Status      json.RawMessage `json:"status,omitempty"`
	Health      protocol.Health `json:"health"`
}

const (
	reports = "report/" // NODE/SLOT: Report
	// KeptReports is how many boots of a machine have their last report kept.
	KeptReports = 4
)

// Progress is what the stages of a report come to.
type Progress struct {
	Stage string        // the last one
	Since time.Duration // from the start of the kernel to it
	Boot  string        // as in protocol.Claims, "" if no stage says it
}

// Report keeps a report of a machine that has a Proof of the same certificate, in the place of the one before of
// the same boot, or else of the oldest; otherwise ErrNotFound. Progress is for the Proof.
func (r *Registry) Report(ctx context.Context, report Report, progress Progress) error {
	for {
		p, revision, err := get[Proof](ctx, r.store, proven+report.Node)
		if err != nil {
			return err
		}
		if p.Certificate != report.Certificate {
			return ErrNotFound
		}
		p.Reported, p.Stage, p.Since, p.Health = report.Time, progress.Stage, progress.Since, report.Health.State
		if progress.Boot != "" {
			p.Claims.Boot = progress.Boot
		}
		err = put(ctx, r.store, proven+report.Node, p, revision, remembered)
		if errors.Is(err, ErrConflict) {
			continue
		} else if err != nil {
			return err
		}
		slot, err := r.slot(ctx, report)
		if err != nil {
			return err
		}
		return set(ctx, r.store, reports+report.Node+"/"+slot, report, remembered)
	}
}

// slot is that of the boot, or an empty one, or the oldest.
func (r *Registry) slot(ctx context.Context, report Report) (string, error) {
	entries, err := r.store.List(ctx, reports+report.Node+"/", "", KeptReports)
	if err != nil {
		return "", err
	}
	used := make(map[string]Report)
	for _, e := range entries {
		old, err := read[Report](e)
		if err != nil {
			return "", err
		}
		name := e.Key[len(reports)+len(report.Node)+1:]
		if old.Certificate == report.Certificate {
			return name, nil
		}
		used[name] = old
	}
	best := ""
	for i := range KeptReports {
		name := strconv.Itoa(i)
		old, ok := used[name]
		if !ok {
			return name, nil
		}
		if best == "" || old.Time.Before(used[best].Time) {
			best = name
		}
	}
	return best, nil
}

// Reports are those of a machine, the newest first; at most KeptReports.
func (r *Registry) Reports(ctx context.Context, node string) ([]Report, error) {
	list, err := list[Report](ctx, r.store, reports+node+"/", "", KeptReports)
	slices.SortFunc(list, func(a, b Report) int { return b.Time.Compare(a.Time) })
	return list, err
}
