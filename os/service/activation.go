package service

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ember-os/ember/os/reaper"
	"github.com/ember-os/ember/os/unit"
)

// activation is one start of a service and what follows, up to the end of its
// processes.
type activation struct {
	*run
	sv        *unit.Service
	processes processes
	environ   []string
	lasted    time.Duration // of being active with a main process

	command unit.Command    // the latest
	process *reaper.Process // that of command; nil before there is one
	main    bool            // process is the main one
	mainPID int             // 0 before there is one

	notifier *notifier     // nil unless Type=notify
	ready    chan struct{} // closed by READY=1
	leaving  chan struct{} // closed by STOPPING=1
	saidPID  int           // the last MAINPID=; the manager's mu is for it

	mu    sync.Mutex // for the time limit, which messages extend
	timer *time.Timer
	until time.Time // zero for no limit
}

// serve starts the service, waits until it ends or has to stop, and ends it.
func (a *activation) serve() result {
	a.timer = time.NewTimer(time.Hour)
	defer a.timer.Stop()
	a.enter(Starting, "")
	if err := a.prepare(); err != nil {
		return failure(resources, "%v", err)
	}
	defer a.hearLast()
	a.limit(a.sv.StartTimeout)
	res := a.start()
	if res.ok() && a.ctx.Err() == nil {
		res = a.hold()
	}
	a.stop()
	return a.clean(res)
}

// prepare makes what the service's processes need.
func (a *activation) prepare() error {
	processes, dir, err := a.m.processesOf(a.unit.Name, a.sv)
	if err != nil {
		return err
	}
	a.processes = processes
	a.update(func(st *Status) { st.Cgroup = dir })
	a.environ = slices.Clone(a.m.o.Environ)
	if a.sv.Type != unit.Notify {
		return nil
	}
	a.ready, a.leaving = make(chan struct{}), make(chan struct{})
	path := filepath.Join(a.m.notifyDir(), strconv.Itoa(a.number))
	if a.notifier, err = listen(path, a.processes.has, a.hear); err != nil {
		return err
	}
	a.m.o.Spawn(a.notifier.run)
	a.environ = append(a.environ, "NOTIFY_SOCKET="+path)
	return nil
}

// hear takes a message of the service.
func (a *activation) hear(msg message) {
	a.m.mu.Lock()
	if msg.hasStatus && a.status.Text != msg.status {
		a.status.Text = msg.status
		a.m.touch()
	}
	if msg.ready {
		closeOnce(a.ready)
	}
	if msg.stopping {
		closeOnce(a.leaving)
	}
	if msg.mainPID != 0 {
		a.saidPID = msg.mainPID
	}
	a.m.mu.Unlock()
	if msg.extend > 0 {
		a.extend(msg.extend)
	}
	if a.m.o.OnExtra != nil && msg.extra.key != "" {
		a.m.o.OnExtra(a.unit.Name, msg.extra.key, msg.extra.value)
	}
}

// hearLast hears what is left to be heard, and says if the service believes that another process stands for it.
func (a *activation) hearLast() {
	a.notifier.close()
	if a.ctx.Err() == nil && a.mainPID != 0 && a.saidPID != 0 && a.saidPID != a.mainPID {
		a.m.o.Log.Warn(fmt.Sprintf("%s: MAINPID=%d is not supported: it ends with process %d, which was started",
			a.shortName(), a.saidPID, a.mainPID))
	}
}

// start runs the commands up to the one that makes the service active.
func (a *activation) start() result {
	for _, c := range a.sv.ExecStartPre {
		if a.ctx.Err() != nil {
			return good
		}
		if res := a.complete(a.ctx, c, a.environ); !res.ok() {
			return res
		}
	}
	a.main, a.process = true, nil // that was of an ExecStartPre
	for _, c := range a.sv.ExecStart {
		if a.ctx.Err() != nil {
			return good
		}
		if a.sv.Type != unit.Oneshot {
			return a.startMain(c)
		}
		if res := a.complete(a.ctx, c, a.environ); !res.ok() {
			return res
		}
	}
	return good
}

// startMain starts the main process and waits until it is ready.
func (a *activation) startMain(c unit.Command) result {
	if res := a.launch(c, a.environ); !res.ok() || a.sv.Type != unit.Notify {
		return res
	}
	select {
	case <-a.ready:
		return good
	case <-a.process.Done():
	case <-a.timer.C:
		return failure(timedOut, "not ready after %v", a.sv.StartTimeout)
	case <-a.ctx.Done():
		return good
	}
	a.notifier.close() // what it has said before it ended counts
	select {
	case <-a.ready:
		return good
	default:
	}
	res := a.result()
	if res.ok() {
		res.kind = protocol
		res.what += " before it was ready"
	}
	return res
}

// hold is the time of being active.
func (a *activation) hold() result {
	a.limit(0)
	if a.sv.Type == unit.Oneshot {
		if a.sv.RemainAfterExit {
			a.up(Exited)
			<-a.ctx.Done()
		}
		return good
	}
	began := time.Now()
	defer func() { a.lasted = time.Since(began) }()
	a.up(Active)
	select {
	case <-a.process.Done():
	case <-a.ctx.Done():
		return good
	case <-a.leaving:
		if res := a.leave(); !res.ok() || a.ctx.Err() != nil {
			return res
		}
	}
	res := a.result()
	if res.ok() && a.sv.RemainAfterExit {
		a.enter(Exited, "") // up it has been since Active
		a.say("done")
		<-a.ctx.Done()
	}
	return res
}

// leave waits for the end of a service that says that it is stopping.
func (a *activation) leave() result {
	a.enter(Stopping, "")
	a.limit(a.sv.StopTimeout)
	select {
	case <-a.process.Done():
	case <-a.ctx.Done():
	case <-a.timer.C:
		return failure(timedOut, "still stopping after %v", a.sv.StopTimeout)
	}
	return good
}

// launch starts a command.
func (a *activation) launch(c unit.Command, environ []string) result {
	p, err := a.exec(c, environ)
	if err != nil {
		return failure(resources, "%v", err)
	}
	a.command, a.process = c, p
	if a.main {
		a.mainPID = p.PID
		a.update(func(st *Status) { st.PID = p.PID })
	}
	return good
}

// complete runs a command to its end.
func (a *activation) complete(ctx context.Context, c unit.Command, environ []string) result {
	if res := a.launch(c, environ); !res.ok() {
		return res
	}
	select {
	case <-a.process.Done():
		return a.result()
	case <-a.timer.C:
		return failure(timedOut, "%s took too long", c.Path)
	case <-ctx.Done():
	case <-a.hurry:
	}
	return good
}

// result is that of the process, which has ended.
func (a *activation) result() result {
	status, _ := a.process.Wait(context.Background()) // there is no error without an end of the context
	res := resultOf(status, a.sv.Type == unit.Oneshot || !a.main, a.command.IgnoreFailure)
	if a.main {
		a.update(func(st *Status) { st.PID, st.LastExit = 0, res.what })
	} else {
		res.what = a.command.Path + ": " + res.what
	}
	return res
}

// limit begins a time limit, 0 for none.
func (a *activation) limit(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d <= 0 {
		a.until = time.Time{}
		a.timer.Stop()
		return
	}
	a.until = time.Now().Add(d)
	a.timer.Reset(d)
}

// extend moves the time limit away, to d from now.
func (a *activation) extend(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until := time.Now().Add(d); !a.until.IsZero() && until.After(a.until) {
		a.until = until
		a.timer.Reset(d)
	}
}
