package health

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/jsonfile"
	"github.com/ember-os/ember/os/logline"
)

func hang(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func report(checks ...Check) Report {
	return Report{Healthy: !slices.ContainsFunc(checks, func(c Check) bool { return !c.Healthy }), Checks: checks}
}

// TestWatch is a node that becomes healthy, and then has to stop.
func TestWatch(t *testing.T) {
	l := machine(t, "")
	var logged bytes.Buffer
	l.Log = logline.New(&logged, slog.LevelInfo)
	l.commandFile(t, "disk", "echo no disk; exit 1")
	ctx, cancel := context.WithCancel(t.Context())
	reports, ended := make(chan Report), make(chan struct{})
	go func() {
		defer close(ended)
		l.watch(ctx, func(r Report) { reports <- r })
	}()
	bad := <-reports
	l.commandFile(t, "disk.new", "exit 0")
	if err := os.Rename(filepath.Join(l.paths.commands, "disk.new"), filepath.Join(l.paths.commands, "disk")); err != nil {
		t.Fatal(err)
	}
	good := <-reports
	cancel()
	<-ended
	if bad.Healthy || bad.Why() != "command disk: it has ended badly: exit status 1, and says no disk" || !good.Healthy || good.Since <= bad.Since {
		t.Errorf("%+v, then %+v", bad, good)
	}
	if got, err := jsonfile.Read[Report](l.paths.report); err != nil || got.Healthy != good.Healthy || got.Since != good.Since || got.Why() != good.Why() {
		t.Errorf("read back %+v, %v", got, err)
	}
	want := []string{"<6>services: none of 1 is down", "<6>command disk: no disk",
		"<4>command disk: it has ended badly: exit status 1, and says no disk", "<6>command disk: it has ended well", ""}
	if got := strings.Split(logged.String(), "\n"); !slices.Equal(got, want) {
		t.Errorf("logs %q, want %q", got, want)
	}
}

// TestHistory has looks, each some seconds after the one before.
func TestHistory(t *testing.T) {
	good, bad := healthy("services", "up"), unhealthy("services", "down")
	var h history
	now := time.Duration(0)
	for i, step := range []struct {
		after  time.Duration
		check  Check
		news   bool
		since  time.Duration
		failed int
		pause  time.Duration
	}{
		{1, bad, true, 1, 0, often}, // it was never healthy, so it has not failed
		{5, bad, false, 1, 0, often},
		{5, unhealthy("services", "slow"), true, 1, 0, often},
		{5, good, true, 16, 0, often},
		{119, good, false, 16, 0, often},
		{1, good, false, 16, 0, seldom},
		{30, bad, true, 166, 1, often},
		{4, good, true, 170, 1, often},
		{5, bad, true, 175, 2, often}, // it flaps
		{5, good, true, 180, 2, often},
		{580, good, false, 180, 2, seldom},
		{10, good, true, 180, 1, seldom}, // the first failure is forgotten
		{10, good, true, 180, 0, seldom},
	} {
		now += step.after * time.Second
		r, news := h.add(report(step.check), now)
		if news != step.news || r.Since != step.since*time.Second || r.Checks[0].Failed != step.failed || r.Checks[0].Flaps() != (step.failed > 1) || h.pause(now) != step.pause {
			t.Errorf("look %d: news %t, %+v, pause %v; want %+v", i, news, r, h.pause(now), step)
		}
	}
}

// TestLog: what changes is logged, and what commands print when that matters.
func TestLog(t *testing.T) {
	var h history
	for i, step := range []struct {
		healthy        bool
		reason, output string
		want           []string
	}{
		{true, "well", "a\nb", []string{"INFO command x: a", "INFO command x: b", "INFO command x: well"}},
		{true, "well again", "c", nil},
		{false, "status 1", "c", []string{"INFO command x: c", "WARN command x: status 1"}},
		{false, "status 1", "c", nil},
		{false, "status 2", "d\x1b", []string{"INFO command x: d?", "WARN command x: status 2"}},
		{true, "well", "", []string{"INFO command x: well"}},
		{false, "status 1", "", []string{"WARN command x: status 1, and it flaps"}},
	} {
		h.add(report(Check{Name: "command x", Healthy: step.healthy, Reason: step.reason, output: step.output}), 0)
		var got []string
		for _, l := range h.lines {
			got = append(got, l.level.String()+" "+l.text)
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("look %d logs %q, want %q", i, got, step.want)
		}
	}
}

func TestWhy(t *testing.T) {
	want := Report{Healthy: true, Since: time.Second, Checks: []Check{healthy("services", "up"), {Name: "kubernetes", Healthy: true, Reason: "ready", Failed: 2}}}
	if got := want.Why(); got != "services: up; kubernetes: ready, and it flaps" {
		t.Error(got)
	}
	want.Checks[0], want.Healthy = unhealthy("services", "down"), false
	if got := want.Why(); got != "services: down" {
		t.Error(got)
	}
}
