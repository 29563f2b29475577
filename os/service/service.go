// Package service runs services inside PID 1: it starts units in the order that they
// ask for, knows when they are ready, restarts them, and stops them in reverse order.
// The rules are those of systemd.unit(5), systemd.service(5), systemd.kill(5) and
// sd_notify(3), as far as docs/services.md goes. It departs from them so:
//
//   - A unit that requires another one and starts after it waits while that one is
//     restarted, and fails only if it is given up.
//   - Each restart in a row waits twice as long as the one before, up to a minute or
//     RestartSec, whichever is longer, until the service has been up for a minute.
//   - StartTimeout is for all commands of a start together, StopTimeout for the end
//     of all processes and then again for all ExecStopPost commands together.
//   - KillMode=none is KillMode=process. What both leave behind ends with the machine:
//     a manager that stops ends it as KillMode=control-group does, with a Grace instead
//     of StopTimeout if its service is over or waits to be restarted.
//   - The main process is the one that was started, whatever MAINPID= says.
//   - A start that a manager that stops has cut short is no failure.
//
// No lock is ever held while something is waited for. Each unit that was started has
// one goroutine, which alone decides what happens to it.
package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ember-os/ember/os/cgroup"
	"github.com/ember-os/ember/os/mounts"
	"github.com/ember-os/ember/os/reaper"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/unit"
)

// Options is what a manager works with. Reaper, Spawn, Log and Dir have to be set.
type Options struct {
	Reaper *reaper.Reaper
	Spawn  func(func()) // runs a function in a goroutine of its own
	Log    *slog.Logger
	// Cgroups is where system.slice is made, with a cgroup for each service. Without
	// it a service is the sessions of its commands, which its processes can leave, and
	// only root's processes are heard.
	Cgroups *cgroup.Tree
	// Dir is for services.json and notify, a directory of sockets. The paths of
	// sockets must not be longer than 107 bytes.
	Dir     string
	Environ []string // every service's variables, before its own
	// Output opens what a unit writes to, in blocking mode. Nil is /dev/null for
	// everything.
	Output     func(name string, o unit.Output) (*os.File, error)
	Executable string // the program whose "exec" is package executor; "" for our own
	// OnReady is called each time a unit has become active, or a oneshot has ended
	// well, with its STATUS= text; may be nil.
	OnReady func(name, status string)
	// OnExtra is called for each message of a service with a variable that begins with
	// X_EMBER_, of which it has one; may be nil.
	OnExtra func(name, key, value string)

	BackOffMax time.Duration // the longest delay before a restart; 0 for a minute
	UpTime     time.Duration // after which a restart is not "in a row"; 0 for a minute
	KillTime   time.Duration // for processes to vanish after SIGKILL; 0 for 5 s
	Grace      time.Duration // for units whose turn to stop comes too late, and for what was left behind; 0 for 3 s
}

const slice = "system.slice"

// Manager runs units.
type Manager struct {
	o       Options
	changed chan struct{} // holds something if the statuses are not published yet
	quit    chan struct{} // closed when all has stopped

	writeFailed, outputFailed atomic.Bool

	mu       sync.Mutex // for what follows, and for what each service says it is for
	units    map[string]*service
	stopping bool
}

// service is a unit and what it does. The manager's mu is for all fields.
type service struct {
	m      *Manager
	number int // of which each unit has another
	unit   unit.Unit
	status Status
	life   *run       // its latest; nil if it was never started
	after  []*service // the started ones that it starts after
}

// New makes a manager without units.
func New(o Options) *Manager {
	if o.Executable == "" {
		o.Executable = "/proc/self/exe"
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.BackOffMax, time.Minute}, {&o.UpTime, time.Minute}, {&o.KillTime, 5 * time.Second}, {&o.Grace, 3 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	m := &Manager{o: o, changed: make(chan struct{}, 1), quit: make(chan struct{}), units: map[string]*service{}}
	if err := os.MkdirAll(m.notifyDir(), 0o755); err != nil {
		o.Log.Warn("no service can say that it is ready", "err", err)
	}
	m.prepareSlice()
	o.Spawn(m.publish)
	return m
}

func (m *Manager) notifyDir() string { return filepath.Join(m.o.Dir, "notify") }

func (m *Manager) prepareSlice() {
	if m.o.Cgroups == nil {
		m.o.Log.Warn("there are no cgroups: processes may escape from their services")
		return
	}
	g, err := m.o.Cgroups.Make(slice)
	if err != nil {
		m.o.Log.Warn("no service can start", "err", err)
		return
	}
	_, failed := mounts.DelegateControllers(g.Dir)
	for _, err := range failed {
		m.o.Log.Warn("services go without a cgroup controller", "err", err)
	}
}

// Start starts units by name, with all that they require and want. It does not wait
// for them. Units are added to those that are known already; a known one is replaced
// unless it is a service that has been started. What has been started already is not
// started again unless it has failed. Problems of units that start are logged. The
// error is that of names that are not known.
func (m *Manager) Start(units []unit.Unit, names ...string) error {
	m.mu.Lock()
	var changed []string
	for _, u := range units {
		if !m.add(u) {
			changed = append(changed, u.Name)
		}
	}
	if m.stopping {
		m.mu.Unlock()
		return errors.New("starting units: the machine stops")
	}
	var errs []error
	for _, name := range names {
		if m.units[name] == nil {
			errs = append(errs, fmt.Errorf("starting %s: there is no such unit", name))
		}
	}
	runs := m.begin(names)
	cycles := m.link()
	for _, r := range runs {
		r.plan()
	}
	m.touch()
	m.mu.Unlock()

	for _, name := range changed {
		m.o.Log.Warn(name + " has changed, but runs as it was when it started")
	}
	for _, c := range cycles {
		m.o.Log.Warn(c)
	}
	for _, r := range runs {
		for _, problem := range r.unit.Problems {
			m.o.Log.Warn(r.shortName() + ": " + problem)
		}
		m.o.Spawn(r.run)
	}
	return errors.Join(errs...)
}

// add makes a unit known. It is false for a change that comes too late.
func (m *Manager) add(u unit.Unit) bool {
	s := m.units[u.Name]
	if s == nil {
		s = &service{m: m, number: len(m.units), status: Status{Name: u.Name, State: Dead, Since: stage.Now()}}
		m.units[u.Name] = s
	} else if s.life != nil && s.unit.Service != nil && s.status.State != Failed {
		return reflect.DeepEqual(s.unit, u)
	}
	s.unit = u
	s.status.Description = u.Description
	s.status.Units = slices.Compact(slices.Sorted(slices.Values(slices.Concat(u.Requires, u.Wants))))
	s.status.Problems = u.Problems
	if u.Error != "" {
		s.status.Problems = append(slices.Clip(u.Problems), u.Error)
	}
	return true
}

// Wait waits until a unit is active, has ended well, or is given up.
func (m *Manager) Wait(ctx context.Context, name string) (State, error) {
	m.mu.Lock()
	s := m.units[name]
	if s == nil || s.life == nil {
		m.mu.Unlock()
		return Dead, fmt.Errorf("waiting for %s: it was not started", name)
	}
	settled := s.life.settled
	m.mu.Unlock()
	select {
	case <-settled:
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for %s: %w", name, ctx.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.status.State, nil
}

// Stop stops everything: each unit once those that started after it have ended. When
// ctx ends it kills those that were asked to stop. The others are still asked, in order
// for one Grace and then all at once, and killed a Grace after that. What services have
// left behind is asked last, and killed a Grace after that. It returns no later than three
// Graces and three KillTimes after the end of ctx, with an error that names those that
// have had no more time. It is called once; the manager does nothing after it.
func (m *Manager) Stop(ctx context.Context) error {
	m.mu.Lock()
	if m.stopping {
		m.mu.Unlock()
		return errors.New("stopping services: they are being stopped already")
	}
	m.stopping = true
	var started []*run
	followers := map[*run][]*run{}
	for _, s := range m.units {
		if s.life == nil {
			continue
		}
		started = append(started, s.life)
		for _, before := range s.after {
			followers[before.life] = append(followers[before.life], s.life)
		}
	}
	m.mu.Unlock()

	inOrder, disorder := context.WithCancel(context.Background())
	defer disorder()
	for _, r := range started {
		m.o.Spawn(func() { r.askToStop(ctx, inOrder, followers[r]) })
	}
	left := waitEnded(ctx, started)
	late, cancel := context.WithTimeout(context.Background(), m.o.Grace)
	defer cancel()
	left = waitEnded(late, left)
	disorder()
	last, cancel := context.WithTimeout(context.Background(), m.o.Grace+2*m.o.KillTime)
	defer cancel()
	var err error
	if stuck := waitEnded(last, left); len(stuck) > 0 {
		err = fmt.Errorf("stopping services: even when killed there is no end of %s", names(stuck))
	} else if hurried := slices.DeleteFunc(started, func(r *run) bool { return !isClosed(r.hurry) }); len(hurried) > 0 {
		err = fmt.Errorf("stopping services: no more time for %s", names(hurried))
	}
	close(m.quit)
	m.write()
	return errors.Join(err, m.sweep())
}

// waitEnded waits for units to end and gives those that did not.
func waitEnded(ctx context.Context, all []*run) (left []*run) {
	for _, r := range all {
		select {
		case <-r.ended:
		case <-ctx.Done():
			if !isClosed(r.ended) {
				left = append(left, r)
			}
		}
	}
	return left
}

func names(runs []*run) string {
	var all []string
	for _, r := range runs {
		all = append(all, r.unit.Name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// validName tells whether a unit's name can be that of a file and a cgroup.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && fs.ValidPath(name) && !strings.Contains(name, "/")
}
