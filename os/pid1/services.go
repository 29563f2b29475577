package pid1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/ember-os/ember/os/cgroup"
	"github.com/ember-os/ember/os/clock"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/loopback"
	"github.com/ember-os/ember/os/mounts"
	"github.com/ember-os/ember/os/output"
	"github.com/ember-os/ember/os/packed"
	"github.com/ember-os/ember/os/power"
	"github.com/ember-os/ember/os/service"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/unit"
	"github.com/ember-os/ember/os/version"
)

const (
	runDir     = "/run/ember"
	logService = "ember-log.service"
	attestUnit = "ember-attest.service"
	bootUnit   = "ember-boot.service" // attests as well, and more
	readTime   = 20 * time.Second     // for the child that reads the unit files
	readPause  = 10 * time.Second     // before it is tried again
)

// stageOf is the stages that services reach.
var stageOf = map[string]string{
	"ember-network.service": stage.Network,
	"ember-time.service":    stage.Time,
	attestUnit:              stage.Attest,
	bootUnit:                stage.Attest,
	"tink-agent.service":    stage.Agent,
}

func (s *system) setClock(context.Context) ([]stage.Field, error) {
	stepped, err := clock.NotBefore(version.Built())
	s.warn("the time is earlier than it can be", err)
	fields := []stage.Field{{Key: "now", Value: time.Now().UTC().Format(time.RFC3339)}}
	if stepped {
		fields = append(fields, stage.Field{Key: "from", Value: "build"})
	}
	return fields, nil
}

// targetsOf is what a machine starts at once and what it starts once the unit first is up; "" for nothing.
func targetsOf(c cmdline.Config) (now []string, first, later string) {
	now = []string{unit.BaseTarget}
	workload := c.Target()
	switch {
	case c.LKG.Mode != cmdline.LKGOff:
		return append(now, bootUnit), bootUnit, workload
	case c.Attest.URL != "":
		return append(now, attestUnit), attestUnit, workload
	case workload != "":
		now = append(now, workload)
	}
	return now, "", ""
}

func (s *system) startServices(ctx context.Context) ([]stage.Field, error) {
	read := <-s.units
	if read.err != nil {
		return nil, read.err
	}
	units := read.units
	s.warn("services of this machine do not reach each other", loopback.Up())
	cgroups, err := cgroup.Open(mounts.CgroupRoot)
	s.warn("services can leave processes behind", err)
	m := service.New(service.Options{
		Reaper:  s.reaper,
		Spawn:   s.spawn,
		Log:     s.log,
		Cgroups: cgroups,
		Dir:     runDir,
		Environ: append(environ, s.config.ProxyEnviron()...),
		Output: func(name string, o unit.Output) (*os.File, error) {
			return output.Open(s.output, name, o == unit.JournalConsole)
		},
		OnReady: func(name, status string) {
			if name, ok := stageOf[name]; ok {
				stage.Print(&s.voice, name, statusFields(status)...)
			}
		},
		OnExtra: s.hearBoot,
	})
	s.services.Store(m)
	if ctx.Err() != nil { // looked at behind Store: stop has seen m, or we see that it has begun
		return nil, ctx.Err()
	}
	targets, first, later := targetsOf(s.config)
	s.warn("the machine has less to do", m.Start(afterLog(units), targets...))
	if runtime.NumCPU() > 1 {
		s.spawn(func() { packed.Ahead(programs(units)) })
	}
	if later != "" {
		s.spawn(func() { s.warn("the workload does not start", s.startWorkload(ctx, m, first, later)) })
	}
	return []stage.Field{{Key: "units", Value: fmt.Sprint(len(units))}}, nil
}

// hearBoot does what the program that leads the boot asks for.
func (s *system) hearBoot(unit, key, value string) {
	switch {
	case unit != bootUnit:
	case key == stage.Message:
		stage.Print(&s.voice, stage.Boot, statusFields(value)...)
	case key == power.Message:
		s.spawn(func() { s.requests <- power.Request{Action: power.Reboot, Reason: value} })
	}
}

// startWorkload reads the unit files again once the machine has been attested, which may have brought more of
// them, and starts the workload. Nobody else would try: it goes on until it can read them.
func (s *system) startWorkload(ctx context.Context, m *service.Manager, first, target string) error {
	state, err := m.Wait(ctx, first)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	if state == service.Failed {
		return errors.New("the attestation has failed")
	}
	units := s.readUnitsAtLast(ctx, []string{unit.BaseTarget, target})
	if ctx.Err() != nil {
		return nil
	}
	s.log.Info("the workload starts", "target", target, "units", len(units))
	return m.Start(afterLog(units), target)
}

// afterLog has every service start after the log daemon, and so stop before it: it
// is the last to hear of what happens.
func afterLog(units []unit.Unit) []unit.Unit {
	for i, u := range units {
		if u.Service != nil && u.Name != logService && !slices.Contains(u.After, logService) {
			units[i].After = append(u.After, logService)
		}
	}
	return units
}

// environ is what every service finds in its environment.
var environ = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", logline.Variable + "=1"}

// statusFields is what a service says of its stage.
func statusFields(status string) []stage.Field {
	if fields, ok := stage.ParseFields(status); ok {
		return fields
	}
	return []stage.Field{{Key: "status", Value: status}}
}

// programs is what the services run, each once.
func programs(units []unit.Unit) []string {
	var paths []string
	for _, u := range units {
		if u.Service == nil {
			continue
		}
		for _, c := range u.Service.ExecStart {
			if !slices.Contains(paths, c.Path) {
				paths = append(paths, c.Path)
			}
		}
	}
	return paths
}

type unitsRead struct {
	units []unit.Unit
	err   error
}

// beginReadUnits reads the unit files of what the machine starts at once, while there is something else to do.
func (s *system) beginReadUnits(ctx context.Context) <-chan unitsRead {
	read := make(chan unitsRead, 1)
	targets, _, _ := targetsOf(s.config)
	s.spawn(func() {
		units, err := s.readUnits(ctx, targets)
		read <- unitsRead{units, err}
	})
	return read
}

// readUnits has a child read the unit files, because they come from outside.
func (s *system) readUnits(ctx context.Context, targets []string) ([]unit.Unit, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	answer, err := s.ask(ctx, append([]string{"units"}, targets...)...)
	if err != nil {
		return nil, fmt.Errorf("reading the unit files: %w", err)
	}
	return unit.Decode(bytes.NewReader(answer))
}

// readUnitsAtLast is readUnits until it succeeds or ctx ends. Of failures it tells the first.
func (s *system) readUnitsAtLast(ctx context.Context, targets []string) []unit.Unit {
	for told := false; ; told = true {
		units, err := s.readUnits(ctx, targets)
		if err == nil || ctx.Err() != nil {
			return units
		}
		if !told {
			s.warn("the workload waits until its unit files can be read", err)
		}
		select {
		case <-time.After(s.pause):
		case <-ctx.Done():
			return nil
		}
	}
}
