package boot

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ember-os/ember/os/lkg/machine"
)

func (s *fakeSteps) Attest(context.Context, string) error { return nil }
func (s *fakeSteps) Probe(context.Context) error          { return context.Canceled }

// TestBootServer has no server of attestation: a system from the disk asks the boot server.
func TestBootServer(t *testing.T) {
	for status, want := range map[int]machine.Event{200: machine.Done, 404: machine.NoAnswer, 503: machine.NoAnswer} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write([]byte("program"))
		}))
		defer web.Close()
		n := &node{steps: new(fakeSteps), from: machine.Disk}
		n.config.LKG.URL = web.URL
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.begin(ctx, machine.Attest, false); classify(err) != want {
			t.Errorf("%d: %v", status, err)
		}
		if err := n.probe(ctx); (err == nil) != (want == machine.Done) {
			t.Errorf("%d, later: %v", status, err)
		}
		n.from = machine.Network
		if err := n.begin(ctx, machine.Attest, false); err != nil {
			t.Errorf("%d, from the network: %v", status, err)
		}
		n.config.Attest.URL = "https://attest.example"
		if err := n.probe(ctx); err != context.Canceled {
			t.Errorf("%d: the server of attestation is not asked: %v", status, err)
		}
	}
}
