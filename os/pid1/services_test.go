package pid1

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/power"
	"github.com/ember-os/ember/os/service"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/unit"
)

func TestTargets(t *testing.T) {
	for line, want := range map[string]struct {
		now          []string
		first, later string
	}{
		"":                                   {[]string{unit.BaseTarget, "multi-user.target"}, "", ""},
		"ember.workload=none":                {[]string{unit.BaseTarget}, "", ""},
		"docker_registry=r.ex":               {[]string{unit.BaseTarget, "tinkerbell.target"}, "", ""},
		"ember.attest_url=https://a.example": {[]string{unit.BaseTarget, attestUnit}, attestUnit, "multi-user.target"},
		"ember.attest_url=wrong":             {[]string{unit.BaseTarget, attestUnit}, attestUnit, "multi-user.target"},
		"ember.attest_url=https://a.example ember.workload=none": {[]string{unit.BaseTarget, attestUnit}, attestUnit, ""},
		"ember.attest_url=https://a.example ember.lkg=on":        {[]string{unit.BaseTarget, bootUnit}, bootUnit, "multi-user.target"},
		"docker_registry=r.ex ember.lkg=disk":                    {[]string{unit.BaseTarget, bootUnit}, bootUnit, "tinkerbell.target"},
	} {
		config, _ := cmdline.Parse(line)
		if now, first, later := targetsOf(config); !slices.Equal(now, want.now) || first != want.first || later != want.later {
			t.Errorf("%q starts %q, then, after %q, %q", line, now, first, later)
		}
	}
}

func TestHearBoot(t *testing.T) {
	t.Parallel()
	s, console := testSystem(t)
	s.hearBoot(attestUnit, stage.Message, "phase=attest")
	s.hearBoot(attestUnit, power.Message, "nobody asks")
	s.hearBoot(bootUnit, stage.Message, `phase=waiting why="it broke"`)
	s.hearBoot(bootUnit, power.Message, "boot failed: it broke")
	if got, want := <-s.requests, (power.Request{Action: power.Reboot, Reason: "boot failed: it broke"}); got != want {
		t.Errorf("the request is %v, want %v", got, want)
	}
	lines := console()
	if len(lines) != 1 || lines[0].Name != stage.Boot || lines[0].Get("phase") != "waiting" || lines[0].Get("why") != "it broke" {
		t.Errorf("the console shows %v", lines)
	}
}

// TestStartWorkload has units that appear with the attestation.
func TestStartWorkload(t *testing.T) {
	s, _ := testSystem(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.spawn(func() { s.reaper.Run(ctx) })
	for problem, want := range map[string]string{"": "", "no such program": "the attestation has failed"} {
		m := service.New(service.Options{Reaper: s.reaper, Spawn: s.spawn, Log: s.log, Dir: t.TempDir()})
		if err := m.Start([]unit.Unit{{Name: attestUnit, Error: problem}}, attestUnit); err != nil {
			t.Fatal(err)
		}
		err := s.startWorkload(ctx, m, attestUnit, "multi-user.target")
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
		if state, err := m.Wait(t.Context(), "new.target"); (state == service.Active) != (want == "") {
			t.Errorf("the new unit is %v, %v", state, err)
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	m := service.New(service.Options{Reaper: s.reaper, Spawn: s.spawn, Log: s.log, Dir: t.TempDir()})
	if err := s.startWorkload(ctx, m, attestUnit, "multi-user.target"); err == nil {
		t.Error("the workload starts without attestation")
	}
	m.Stop(t.Context())
}

// TestReadUnitsAtLast has a child that fails twice, then a machine that is stopped between two tries.
func TestReadUnitsAtLast(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"failure1", "failure2"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := testSystem(t)
	s.pause = time.Millisecond
	var log bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	s.spawn(func() { s.reaper.Run(t.Context()) })
	if units := s.readUnitsAtLast(ctx, []string{"a.target"}); len(units) != 3 {
		t.Errorf("it reads %v", units)
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "exit status 1") {
		t.Errorf("of two failures it says\n%s", log.String())
	}

	s.pause = time.Hour
	s.log = slog.New(slog.NewTextHandler(writer(func() { cancel() }), nil)) // stops the machine when it hears of the failure
	if err := os.WriteFile("failure1", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.readUnitsAtLast(ctx, nil)
}

func TestStatusFields(t *testing.T) {
	for status, want := range map[string][]stage.Field{
		`link=eth0 by="two words"`: {{Key: "link", Value: "eth0"}, {Key: "by", Value: "two words"}},
		"all is well":              {{Key: "status", Value: "all is well"}},
		"":                         nil,
	} {
		if got := statusFields(status); !slices.Equal(got, want) {
			t.Errorf("%q gives %q, want %q", status, got, want)
		}
	}
}

func TestAfterLog(t *testing.T) {
	units := afterLog([]unit.Unit{{Name: "a.service", After: []string{"b.service"}, Service: &unit.Service{}},
		{Name: logService, Service: &unit.Service{}}, {Name: "x.target"}})
	if !slices.Equal(units[0].After, []string{"b.service", logService}) || units[1].After != nil || units[2].After != nil {
		t.Errorf("the order is %+v", units)
	}
}
