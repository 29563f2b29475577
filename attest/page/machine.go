package page

import (
	"errors"
	"net/http"
	"time"

	"github.com/ember-os/ember/attest/store"
)

// machineView is one machine as the template sees it.
type machineView struct {
	row
	Operator  *store.Machine
	Waiting   *store.Waiting
	Proof     *store.Proof
	Asked     *store.Verdict // the last verdict, if it is not the proof's: the word of whoever asked
	Evidence  []evidenceView
	Boots     []bootView // the newest first
	Inventory *inventory // of the newest report
	Why       string     // of the health
}

// bootView is what a machine has reported of a boot.
type bootView struct {
	Time     time.Time
	Timeline *timeline
	Stage    string
	Total    time.Duration
}

func (p *Page) machine(w http.ResponseWriter, r *http.Request) {
	node := r.PathValue("node")
	if err := store.CheckNode(node); err != nil {
		p.problem(w, http.StatusNotFound, "That is no machine", "A machine's name is the SHA-256 of its endorsement key, 64 digits of lower-case hex.")
		return
	}
	view, err := p.newMachine(r, node)
	if errors.Is(err, store.ErrNotFound) {
		p.problem(w, http.StatusNotFound, "Nothing is known of that machine", "It has not asked to be let in, or that was long ago, and no operator has enrolled it.")
		return
	} else if err != nil {
		p.failed(w, err)
		return
	}
	p.show(w, http.StatusOK, "machine", frame{Title: view.Name, Body: view})
}

func (p *Page) newMachine(r *http.Request, node string) (*machineView, error) {
	ctx := r.Context()
	s, err := p.Registry.Summary(ctx, node)
	if err != nil {
		return nil, err
	}
	v := &machineView{row: newRow(&s), Operator: s.Machine, Waiting: s.Waiting, Proof: s.Proof}
	if last := s.Last(); last != nil && (s.Proof == nil || last != &s.Proof.Verdict) {
		v.Asked = last
	}
	if err := v.addEvidence(r, p.Registry, s); err != nil {
		return nil, err
	}
	reports, err := p.Registry.Reports(ctx, node)
	if err != nil {
		return nil, err
	}
	for i, report := range reports {
		t := newTimeline("boot-"+report.Certificate, report.Stages)
		b := bootView{Time: report.Time, Timeline: t}
		if t != nil {
			b.Total, b.Stage = t.Total, t.Steps[len(t.Steps)-1].Name
		}
		v.Boots = append(v.Boots, b)
		if i == 0 {
			v.Inventory, v.Why = readInventory(report.Status), report.Health.Why
		}
	}
	return v, nil
}

// addEvidence has that of the last verdict first. What was refused is set beside what was proved, which tells what
// has changed where the policy only knows a PCR's value.
func (v *machineView) addEvidence(r *http.Request, registry *store.Registry, s store.Summary) error {
	var proved *store.Evidence
	if s.Proof != nil {
		e, err := registry.ProofEvidence(r.Context(), s.Node)
		switch {
		case err == nil:
			proved = &e
			v.Evidence = append(v.Evidence, newEvidence("proof", &e, nil))
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	if s.Refused != nil && s.Last() == s.Refused {
		e, err := registry.RefusalEvidence(r.Context(), s.Node)
		switch {
		case err == nil:
			v.Evidence = append([]evidenceView{newEvidence("refusal", &e, proved)}, v.Evidence...)
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	return nil
}
