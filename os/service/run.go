package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ember-os/ember/os/unit"
)

// run is what the goroutine of a started unit works with.
type run struct {
	*service
	unit    unit.Unit       // as it was when it was started
	ctx     context.Context // ends when the unit has to stop
	cancel  context.CancelFunc
	waits   []<-chan struct{} // before it starts
	tried   chan struct{}     // closed once it has been started, or that has failed
	settled chan struct{}     // the same, but not while it will be tried again
	ended   chan struct{}     // closed when all is over
	hurry   chan struct{}     // closed when a unit that has to stop has no more time
}

// plan notes what the unit waits for; mu is held.
func (r *run) plan() {
	for _, before := range r.after {
		if slices.Contains(r.unit.Requires, before.status.Name) {
			r.waits = append(r.waits, before.life.settled)
		} else {
			r.waits = append(r.waits, before.life.tried)
		}
	}
}

// run is the unit's life.
func (r *run) run() {
	defer r.finish()
	for _, c := range r.waits {
		select {
		case <-c:
		case <-r.ctx.Done():
			r.enter(Dead, "")
			return
		}
	}
	if reason := r.obstacle(); reason != "" {
		r.fail(reason)
		return
	}
	if r.unit.Service == nil {
		r.up(Active)
		<-r.ctx.Done()
		r.enter(Dead, "")
		return
	}
	r.repeat(r.unit.Service)
}

// finish lets all go on that wait for the unit.
func (r *run) finish() {
	r.cancel()
	r.release(r.tried, r.settled, r.ended)
}

// closeOnce closes a channel unless it is closed; mu is held.
func closeOnce(c chan struct{}) {
	if !isClosed(c) {
		close(c)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// obstacle says why the unit can not be started, "" if it can.
func (r *run) obstacle() string {
	if !validName(r.unit.Name) {
		return "its name is not that of a file"
	}
	if r.unit.Error != "" {
		return r.unit.Error
	}
	if sv := r.unit.Service; sv != nil && len(sv.ExecStart) != 1 && sv.Type != unit.Oneshot {
		return fmt.Sprintf("it has %d ExecStart commands where it must have one", len(sv.ExecStart))
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	for _, name := range r.unit.Requires {
		if s := r.m.units[name]; s == nil {
			return "dependency failed: there is no " + name
		} else if s.status.State == Failed {
			return "dependency failed: " + name
		}
	}
	return ""
}

// repeat starts the service as often as Restart= says.
func (r *run) repeat(sv *unit.Service) {
	limit := limiter{interval: sv.LimitInterval, burst: sv.LimitBurst}
	wait := backOff{first: sv.RestartSec, most: r.m.o.BackOffMax}
	last := ""
	for starts := 0; limit.allow(time.Now()); starts++ {
		r.update(func(st *Status) { st.Text, st.Restarts = "", starts })
		a := &activation{run: r, sv: sv}
		res := a.serve()
		if r.ctx.Err() != nil {
			r.enter(Dead, "")
			r.say("stopped")
			return
		}
		if sv.Type == unit.Oneshot && res.ok() {
			r.up(Dead)
		}
		if !restarts(sv.Restart, res.kind) {
			r.end(sv, res)
			return
		}
		last = res.what
		if a.lasted >= r.m.o.UpTime {
			wait.reset()
		}
		delay := wait.delay()
		r.enter(Restarting, res.what)
		r.release(r.tried)
		r.sayEnd(res, fmt.Sprintf("%s, restart in %v", res.what, delay))
		select {
		case <-time.After(delay):
		case <-r.ctx.Done():
			r.enter(Dead, "")
			return
		}
	}
	r.fail("start limit hit: " + last)
}

// end is the end of a service that is not restarted.
func (r *run) end(sv *unit.Service, res result) {
	switch {
	case !res.ok():
		r.fail(res.what)
	case sv.Type != unit.Oneshot:
		r.enter(Dead, "")
		r.say("ended: " + res.what)
	}
}

// up is the success of a start. Those that wait for it go on after OnReady.
func (r *run) up(state State) {
	var text string
	r.enter(state, "")
	r.update(func(st *Status) { text = st.Text })
	if r.unit.Service != nil {
		r.say(map[State]string{Active: "ready", Exited: "done", Dead: "done"}[state])
	}
	if r.m.o.OnReady != nil {
		r.m.o.OnReady(r.unit.Name, text)
	}
	r.release(r.tried, r.settled)
}

// release lets those go on that wait for the channels.
func (r *run) release(channels ...chan struct{}) {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	for _, c := range channels {
		closeOnce(c)
	}
}

func (r *run) fail(reason string) {
	r.enter(Failed, reason)
	r.m.o.Log.Error(r.shortName() + ": failed: " + reason)
}

// say logs what the service does.
func (r *run) say(what string) { r.m.o.Log.Info(r.shortName() + ": " + what) }

// sayEnd logs an end that is followed by a restart.
func (r *run) sayEnd(res result, what string) {
	if res.ok() {
		r.say("ended: " + what)
	} else {
		r.m.o.Log.Warn(r.shortName() + ": failed: " + what)
	}
}

func (r *run) shortName() string { return strings.TrimSuffix(r.unit.Name, ".service") }
