package service

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ember-os/ember/os/cgroup"
)

// The longest time between two looks at whether processes have ended, which they
// mostly have at once.
const pollDelay = 20 * time.Millisecond

// askToStop asks the unit to stop once its followers have ended, or inOrder has. It has
// until ctx ends, or a Grace if it is asked later than that.
func (r *run) askToStop(ctx, inOrder context.Context, followers []*run) {
	for _, f := range followers {
		select {
		case <-f.ended:
		case <-inOrder.Done():
		}
	}
	r.cancel()
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.Background(), r.m.o.Grace)
		defer cancel()
	}
	select {
	case <-r.ended:
	case <-ctx.Done():
		close(r.hurry)
	}
}

// stop ends the service's processes as KillMode says; see systemd.kill(5).
func (a *activation) stop() {
	gone := a.gone()
	if !gone || len(a.sv.ExecStopPost) > 0 {
		a.enter(Stopping, "")
	}
	if gone {
		return
	}
	a.limit(a.sv.StopTimeout)
	switch a.sv.KillMode {
	case "mixed":
		a.stopProcess()
	case "process", "none":
		a.stopProcess()
		if !a.hasEnded() {
			a.process.Signal(syscall.SIGKILL)
			a.wait(a.hasEnded, time.After(a.m.o.KillTime))
		}
		if a.ctx.Err() == nil {
			return
		}
		a.limit(a.sv.StopTimeout)
		fallthrough
	default:
		a.warn(a.processes.signal(syscall.SIGTERM))
		a.warn(a.processes.signal(syscall.SIGCONT))
		a.await(a.gone)
	}
	a.kill()
}

// stopProcess asks the process to end and waits for it.
func (a *activation) stopProcess() {
	if a.hasEnded() {
		return
	}
	a.process.Signal(syscall.SIGTERM)
	a.process.Signal(syscall.SIGCONT)
	a.await(a.hasEnded)
}

// await waits until what was asked to end has done so, or has no more time.
func (a *activation) await(ended func() bool) {
	if !a.wait(ended, a.timer.C) {
		a.sayStuck()
	}
}

// sayStuck names who took the time.
func (a *activation) sayStuck() { a.m.o.Log.Warn(a.shortName() + ": killing what does not end") }

// kill kills what is left.
func (a *activation) kill() {
	if a.gone() {
		return
	}
	a.warn(a.processes.kill())
	limit := time.After(a.m.o.KillTime)
	for delay := time.Millisecond; !a.gone(); delay = min(2*delay, pollDelay) {
		select {
		case <-limit:
			a.m.o.Log.Error(a.shortName() + ": some processes do not end even when killed")
			return
		case <-time.After(delay):
		}
	}
}

// wait waits for a condition until limit, or until there is no more time, and tells
// whether it has come about.
func (a *activation) wait(condition func() bool, limit <-chan time.Time) bool {
	for delay := time.Millisecond; !condition(); delay = min(2*delay, pollDelay) {
		select {
		case <-time.After(delay):
		case <-limit:
			return false
		case <-a.hurry:
			return false
		}
	}
	return true
}

// hasEnded tells whether the process that was started last has ended.
func (a *activation) hasEnded() bool {
	if a.process == nil {
		return true
	}
	select {
	case <-a.process.Done():
		return true
	default:
		return false
	}
}

// gone tells whether no process is left.
func (a *activation) gone() bool {
	empty, err := a.processes.empty()
	return a.hasEnded() && (empty || err != nil)
}

// clean runs what is to be run after the service, and tidies up.
func (a *activation) clean(res result) result {
	if a.main && a.process != nil && a.hasEnded() && !res.ended {
		last := a.result()
		if !res.ok() {
			last.kind, last.what = res.kind, res.what
		}
		res = last
	}
	a.main = false
	environ := slices.Concat(a.environ, res.variables())
	a.limit(a.sv.StopTimeout)
	for _, c := range a.sv.ExecStopPost {
		post := a.complete(context.Background(), c, environ)
		if res.ok() && !post.ok() {
			res = post
		}
		if !a.hasEnded() { // it has taken too long
			a.sayStuck()
			a.process.Signal(syscall.SIGKILL)
			break
		}
	}
	if !a.leavesProcesses() || a.ctx.Err() != nil {
		a.kill()
	}
	if empty, _ := a.processes.empty(); empty {
		a.warn(a.processes.remove())
	}
	return res
}

func (a *activation) leavesProcesses() bool {
	return a.sv.KillMode == "process" || a.sv.KillMode == "none"
}

// sweep asks what services have left behind to end, and kills it after a Grace.
func (m *Manager) sweep() error {
	if m.o.Cgroups == nil {
		return nil
	}
	g, err := m.o.Cgroups.Make(slice)
	if err != nil {
		return err
	}
	if empty, err := emptied(g, 0); empty || err != nil {
		return err
	}
	if err := errors.Join(g.Signal(syscall.SIGTERM), g.Signal(syscall.SIGCONT)); err != nil {
		m.o.Log.Warn("some processes are killed without having been asked to end", "err", err)
	}
	if empty, err := emptied(g, m.o.Grace); empty || err != nil {
		return err
	}
	m.o.Log.Warn(cmp.Or(strings.Join(m.populated(), ", "), slice) + ": killing what does not end")
	if err := g.Kill(); err != nil {
		return err
	}
	empty, err := emptied(g, m.o.KillTime)
	if err == nil && !empty {
		err = errors.New("stopping services: some processes do not end even when killed")
	}
	return err
}

// emptied waits until a cgroup has no processes, or until limit, and tells whether it has none.
func emptied(g cgroup.Group, limit time.Duration) (bool, error) {
	end := time.Now().Add(limit)
	for delay := time.Millisecond; ; delay = min(2*delay, pollDelay) {
		populated, err := g.Populated()
		if err != nil || !populated || time.Now().After(end) {
			return !populated, err
		}
		time.Sleep(delay)
	}
}

// populated is the names of the units whose cgroups have processes.
func (m *Manager) populated() []string {
	var names []string
	for _, st := range m.Statuses() {
		if st.Cgroup == "" {
			continue
		}
		if populated, _ := (cgroup.Group{Dir: st.Cgroup}).Populated(); populated {
			names = append(names, strings.TrimSuffix(st.Name, ".service"))
		}
	}
	return names
}

func (a *activation) warn(err error) {
	if err != nil {
		a.m.o.Log.Warn(a.shortName()+": some processes may be left", "err", err)
	}
}
