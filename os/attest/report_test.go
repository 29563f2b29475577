package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/os/health"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/logs"
	"github.com/ember-os/ember/os/stage"
)

// written is a log in which init has said that.
func written(t *testing.T, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	s, err := logs.NewStore(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if err := s.Append(logs.Entry{Unit: logs.Init, Boot: time.Second, Line: logline.Parse(line)}); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestGather(t *testing.T) {
	log := written(t, "stage=start t=0.100 version=1", "a line of another kind", `stage=attest t=3.900 why="no \"route\""`)
	want := []string{"ember: stage=start t=0.100 version=1", `ember: stage=attest t=3.900 why="no \"route\""`}
	state := filepath.Join(t.TempDir(), "health.json")
	for _, test := range []struct {
		name   string
		health any // health.Report, or bytes, or nil for no file
		want   protocol.Health
	}{
		{"nobody looks", nil, protocol.Health{}},
		{"what is no report", []byte("{"), protocol.Health{}},
		{"healthy", health.Report{Healthy: true, Checks: []health.Check{{Name: "services", Healthy: true, Reason: "4 active"}}}, protocol.Health{State: healthy}},
		{"not yet", health.Report{Checks: []health.Check{{Name: "services", Reason: "kubelet is activating"}}}, protocol.Health{State: starting, Why: "services: kubelet is activating"}},
		{"no more", health.Report{Checks: []health.Check{{Name: "services", Reason: "x", Failed: 1}}}, protocol.Health{State: failing, Why: "services: x"}},
		{"a long reason", health.Report{Checks: []health.Check{{Name: "services", Reason: strings.Repeat("é", 600)}}}, protocol.Health{State: starting, Why: "services: " + strings.Repeat("é", 251)}},
	} {
		os.Remove(state)
		b, ok := test.health.([]byte)
		if !ok && test.health != nil {
			b, _ = json.Marshal(test.health)
		}
		if test.health != nil {
			if err := os.WriteFile(state, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got := gather(log, state)
		if !slices.Equal(got.Stages, want) || got.Health != test.want {
			t.Errorf("%s: %+v", test.name, got)
		}
		checkReport(t, got)
	}
}

// A boot with more stages than a report may have still has one that is taken, with the newest.
func TestGatherMuch(t *testing.T) {
	var lines []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("stage=boot t=%d.000 why=%q", i, strings.Repeat("x", 100+i*3)))
	}
	got := gather(written(t, lines...), "/nonexistent")
	checkReport(t, got)
	if len(got.Stages) < 10 {
		t.Errorf("%d stages", len(got.Stages))
	}
	if l, ok := stage.Parse(got.Stages[len(got.Stages)-1]); !ok || l.T < 100*time.Second {
		t.Errorf("the last one is %s", got.Stages[len(got.Stages)-1])
	}
	if empty := gather(t.TempDir(), "/nonexistent"); len(empty.Stages) != 0 {
		t.Errorf("of no log: %+v", empty)
	}
}

// checkReport has a server read it.
func checkReport(t *testing.T, r protocol.Report) {
	t.Helper()
	r.Version = protocol.Version
	b, err := json.Marshal(r)
	if err == nil {
		_, err = protocol.DecodeReport(b)
	}
	if err != nil {
		t.Errorf("no server takes it: %v", err)
	}
}

// sender is a server that answers with answers, one after the other.
type sender struct {
	sent    chan protocol.Report
	answers []error
	ended   bool
}

func (s *sender) send(_ context.Context, r protocol.Report) error {
	s.sent <- r
	if len(s.answers) == 0 {
		return nil
	}
	err := s.answers[0]
	s.answers = s.answers[1:]
	return err
}

func testReports(s *sender, log *bytes.Buffer, states ...string) *reports {
	return &reports{
		log: slog.New(slog.NewTextHandler(log, nil)), send: s.send, end: func() { s.ended = true },
		gather: func() protocol.Report {
			state := states[0]
			states = states[min(1, len(states)-1):]
			return protocol.Report{Health: protocol.Health{State: state}}
		},
		status: func(context.Context) json.RawMessage { return json.RawMessage("{}") },
	}
}

func TestReports(t *testing.T) {
	var log bytes.Buffer
	t.Run("healthy at once", func(t *testing.T) {
		s := &sender{sent: make(chan protocol.Report, 9)}
		r := testReports(s, &log, healthy)
		r.start(t.Context())
		r.proved()
		r.wait()
		if len(s.sent) != 2 || !s.ended || (<-s.sent).Status != nil || string((<-s.sent).Status) != "{}" {
			t.Errorf("%d reports, ended %v", len(s.sent), s.ended)
		}
	})
	t.Run("no answer, then taken", func(t *testing.T) {
		s := &sender{sent: make(chan protocol.Report, 9), answers: []error{&client.Unreachable{Err: errors.New("a test")}}}
		r := testReports(s, &log, healthy)
		r.start(t.Context())
		r.wait()
		if len(s.sent) != 3 {
			t.Errorf("%d reports", len(s.sent))
		}
	})
	t.Run("not taken", func(t *testing.T) {
		s := &sender{sent: make(chan protocol.Report, 9), answers: []error{&client.Refused{Code: "certificate-missing"}}}
		r := testReports(s, &log, starting)
		r.start(t.Context())
		r.proved()
		r.wait()
		if len(s.sent) != 1 || !strings.Contains(log.String(), "certificate-missing") {
			t.Errorf("%d reports, log %s", len(s.sent), &log)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		s := &sender{sent: make(chan protocol.Report, 9)}
		r := testReports(s, &log, starting)
		r.start(t.Context())
		r.proved()
		<-s.sent
		<-s.sent
		r.stop()
		if len(s.sent) != 0 || !s.ended {
			t.Errorf("%d reports, ended %v", len(s.sent), s.ended)
		}
	})
	t.Run("none", func(t *testing.T) {
		var r *reports
		r.proved()
		r.wait()
		r.stop()
	})
}
