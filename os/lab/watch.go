package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/ember-os/ember/attest/view"
	"github.com/ember-os/ember/os/vm/bootserver"
)

// often is how often is looked at what can not be waited for.
const often = 200 * time.Millisecond

// served shows what the boot server has answered.
func (r *rack) served(s bootserver.Served) {
	switch {
	case s.Status != http.StatusOK:
		r.screen.say("boot", "%s: %d", s.Method, s.Status)
	case s.Method == http.MethodGet:
		r.screen.say("boot", "%s was fetched, %s", bootserver.Name, megabytes(int64(s.Bytes)))
	}
}

// watch shows what the other servers do, until what it returns is called.
func (r *rack) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(often)
		defer tick.Stop()
		for verdicts, events := 0, 0; ; {
			verdicts += r.showVerdicts(verdicts)
			events += r.showEvents(events)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// showVerdicts shows those of attestd's decisions that are new, and says how many these are.
func (r *rack) showVerdicts(known int) int {
	all, err := r.station.Verdicts()
	if err != nil || len(all) < known {
		return 0 // a line is being written
	}
	for _, v := range all[known:] {
		switch v.Message {
		case "attestation":
			text := fmt.Sprintf("%s: machine %.8s", v.Decision, v.Node)
			for _, more := range []string{v.Tier, v.Policy, v.Reason} {
				if more != "" {
					text += ", " + more
				}
			}
			r.screen.say("attestd", "%s", text)
		case "fetch":
			r.screen.say("attestd", "overlay %s:%d was fetched by machine %.8s", v.Overlay, v.OverlayVersion, v.Node)
		case "report":
			if v.Decision != "" { // only of one that was not taken
				r.screen.say("attestd", "a report of machine %.8s was refused: %s", v.Node, v.Reason)
				break
			}
			if v.Health != "" && v.Health != r.reported {
				r.screen.say("attestd", "report: machine %.8s is %s", v.Node, v.Health)
			}
			r.reported = v.Health
		}
	}
	return len(all) - known
}

// showEvents does so for Tinkerbell's server.
func (r *rack) showEvents(known int) int {
	all := r.tink.Process.Events()
	for _, e := range all[known:] {
		switch e.Event {
		case "connected":
			r.screen.say("tinkerbell", "agent %s has connected", e.Agent)
		case "status":
			r.screen.say("tinkerbell", "action %s: %s", e.Name, e.State)
		case "workflow":
			r.screen.say("tinkerbell", "workflow: %s", e.State)
		}
	}
	return len(all) - known
}

// view waits until attestd, as operators see it, has one machine, of which something is so.
func (r *rack) view(ctx context.Context, what string, is func(*view.Row) bool) (view.Row, error) {
	ctx, cancel := r.patient(ctx)
	defer cancel()
	tick := time.NewTicker(often)
	defer tick.Stop()
	for {
		page, err := r.station.Operators().Nodes(ctx, view.Filter{}, "", 2)
		if err == nil && len(page.Nodes) == 1 && is(&page.Nodes[0]) {
			return page.Nodes[0], nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return view.Row{}, fmt.Errorf("waiting for %s: %w; attestd has %+v, %v", what, context.Cause(ctx), page.Nodes, err)
		}
	}
}

// unfetched makes sure that nobody has fetched a version of the overlay.
func (r *rack) unfetched(version uint64) error {
	all, err := r.station.Verdicts("fetch")
	if err != nil {
		return err
	}
	for _, v := range all {
		if v.OverlayVersion == version {
			return fmt.Errorf("machine %.8s has fetched version %d of the overlay", v.Node, version)
		}
	}
	return nil
}
