package boot

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ember-os/ember/os/attest"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/stage"
)

// work is what a machine can do.
type work interface {
	// begin does the work of a phase before Start, or of Commit. It ends soon after ctx does.
	begin(ctx context.Context, p machine.Phase, kept bool) error
	// start has init start the workload.
	start() error
	// watch tells whether the node is healthy, and each change of that, until ctx ends.
	watch(ctx context.Context, changed func(healthy bool, why string))
	// probe is without an error if the server answers.
	probe(ctx context.Context) error
	// leave has the machine stop; verb is Reboot, Return, Next or Kexec.
	leave(ctx context.Context, verb machine.Verb, why string) error
	// tell says that the machine is in another phase.
	tell(m machine.Machine, fields []stage.Field)
}

// event is one for the machine, or what the watch has seen.
type event struct {
	machine.Event
	why    string
	health bool // it is of the watch: Done for healthy, Broken for not
	worked bool // it is of begin
}

const stays = "the node stays as it is until the server answers"

// driver has actions done, one work at a time, and gives the machine the events. It decides nothing.
type driver struct {
	work work
	log  *slog.Logger

	m       machine.Machine
	ctx     context.Context
	events  chan event
	running sync.WaitGroup

	cause    string        // of what is waited for
	stopWork func()        // of what begin does; nil if it does nothing
	overdue  time.Duration // the limit that is over while it goes on; 0 if none is
	limit    time.Duration
	late     *time.Timer
	wait     *time.Timer

	watching, healthy bool
	why               string // it is, or is not
	seen              bool   // the machine was told of it
}

func newDriver(w work, log *slog.Logger) *driver {
	stopped := func() *time.Timer {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return t
	}
	return &driver{work: w, log: log, events: make(chan event), late: stopped(), wait: stopped()}
}

// run is the boot, until ctx ends. before are events that another process has lived through: what they lead to is
// done already, but for what the last one does.
func (d *driver) run(ctx context.Context, b machine.Boot, before ...machine.Event) {
	ctx, cancel := context.WithCancel(ctx)
	defer d.running.Wait()
	defer cancel()
	d.ctx = ctx
	m, actions := machine.New(b)
	for _, e := range before {
		m, actions = m.Next(e)
	}
	d.enter(m, actions, "")
	for {
		select {
		case e := <-d.events:
			d.hear(e)
		case <-d.late.C:
			d.overrun()
		case <-d.wait.C:
			d.next(machine.Elapsed, d.cause)
		case <-ctx.Done():
			d.next(machine.Stop, "")
			return
		}
	}
}

// hear takes an event, or translates it.
func (d *driver) hear(e event) {
	switch {
	case e.health:
		d.watching, d.healthy, d.why, d.seen = true, e.Event == machine.Done, e.why, false
		d.look()
		return
	case e.worked:
		d.stopWork()
		d.stopWork = nil
		// What was said in the end counts, however late it was.
		if d.overdue > 0 && e.Event != machine.Done && e.Event != machine.Denied {
			e.Event, e.why = machine.Late, fmt.Sprintf("%v are over: %s", d.overdue, e.why)
		}
		d.overdue = 0
	}
	d.next(e.Event, e.why)
}

// overrun is the end of a limit. Work ends first.
func (d *driver) overrun() {
	if d.stopWork == nil {
		why := fmt.Sprintf("%v are over", d.limit)
		if d.watching && !d.healthy {
			why += ": " + d.why
		}
		d.next(machine.Late, why)
		return
	}
	d.overdue = d.limit
	d.stopWork()
}

// look tells the machine how healthy the node is, where it wants to know.
func (d *driver) look() {
	switch p := d.m.Phase; {
	case !d.watching || d.seen:
	case p == machine.Start && d.healthy:
		d.seen = true
		d.next(machine.Done, "")
	case (p == machine.Healthy || p == machine.Kept) && !d.healthy:
		d.seen = true
		d.next(machine.Broken, d.why)
	}
}

func (d *driver) next(e machine.Event, why string) {
	m, actions := d.m.Next(e)
	d.enter(m, actions, why)
}

func (d *driver) enter(m machine.Machine, actions []machine.Action, why string) {
	changed := m.Phase != d.m.Phase
	d.m = m
	if changed {
		fields := m.Stage(why)
		for _, a := range actions {
			if m.Phase == machine.Waiting && a.Verb == machine.Wait {
				fields = append(fields, stage.Field{Key: "wait", Value: a.Limit.Round(time.Second).String()})
			}
		}
		d.work.tell(m, fields)
	}
	for _, a := range actions {
		d.do(a, why)
	}
	if changed {
		d.look()
	}
}

func (d *driver) do(a machine.Action, why string) {
	switch a.Verb {
	case machine.Begin:
		d.wait.Stop()
		switch {
		case a.Limit > 0:
			d.limit = a.Limit
			d.late.Reset(a.Limit)
		case d.m.Phase != machine.Start: // what is begun takes as long as it takes
			d.late.Stop()
		}
		d.begin(a)
	case machine.Wait:
		d.cause = why
		d.wait.Reset(a.Limit)
	case machine.Probe:
		d.spawn(func() { d.probe(a.Limit) })
	case machine.Reboot, machine.Return, machine.Next, machine.Kexec:
		if err := d.work.leave(d.ctx, a.Verb, why); err != nil {
			d.log.Warn("the machine can not stop as it should", "by", a.Verb, "err", err)
			d.next(machine.Broken, err.Error())
		}
	case machine.Report:
		if d.m.Phase == machine.Start {
			why += "; " + stays
		}
		d.log.Warn("last-known-good: " + why)
	}
}

// begin does what a phase is for.
func (d *driver) begin(a machine.Action) {
	if d.m.Phase == machine.Start {
		if a.Limit > 0 { // else the node was healthy before
			d.start()
		}
		return
	}
	ctx, cancel := context.WithCancel(d.ctx)
	d.stopWork = cancel
	phase := d.m.Phase
	d.spawn(func() {
		err := d.work.begin(ctx, phase, a.Kept)
		e := event{Event: classify(err), worked: true}
		if err != nil {
			e.why = err.Error()
		}
		d.send(e)
	})
}

func (d *driver) start() {
	if err := d.work.start(); err != nil {
		d.spawn(func() { d.send(event{Event: machine.Broken, why: err.Error()}) })
		return
	}
	d.spawn(func() {
		d.work.watch(d.ctx, func(healthy bool, why string) {
			e := event{Event: machine.Done, health: true, why: why}
			if !healthy {
				e.Event = machine.Broken
			}
			d.send(e)
		})
	})
}

// probe asks whether the server answers.
func (d *driver) probe(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-d.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(d.ctx, every)
		err := d.work.probe(ctx)
		cancel()
		if err == nil {
			d.send(event{Event: machine.Answer, why: "the server answers"})
		}
	}
}

func (d *driver) send(e event) {
	select {
	case d.events <- e:
	case <-d.ctx.Done():
	}
}

func (d *driver) spawn(f func()) { d.running.Go(f) }

// classify tells what an error of begin is for the machine.
func classify(err error) machine.Event {
	switch {
	case err == nil:
		return machine.Done
	case attest.Refused(err):
		return machine.Denied
	case attest.Unanswered(err):
		return machine.NoAnswer
	}
	return machine.Broken
}
