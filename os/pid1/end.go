package pid1

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/console"
	"github.com/ember-os/ember/os/power"
	"github.com/ember-os/ember/os/stage"
)

const (
	servicesLimit = 30 * time.Second // for services to stop in order
	grace         = 5 * time.Second  // for all other processes to end
	flushLimit    = 2 * time.Second  // for the consoles to print the last lines
	reasonLimit   = 2 * time.Second  // for firmware to keep the reason
	stopLimit     = 80 * time.Second // for everything, disks included
	forceLimit    = 2 * time.Second  // for a driver to answer once it is done by force
)

// fail is the end of a bring-up that failed: a reboot, unless there are shells that
// wait for one to be asked for.
func (s *system) fail(ctx context.Context, step string, err error) {
	if s.voice.console.Ports() == nil {
		s.openConsoles(console.Devices(nil, cmdline.SerialNamed))
	}
	next := fmt.Sprintf("reboot in %v", s.delay)
	if s.config.Debug.Shell {
		next = "shells on all consoles, until one of them says reboot"
	}
	stage.Print(&s.voice, stage.Failed, stage.Field{Key: "step", Value: step},
		stage.Field{Key: "error", Value: err.Error()}, stage.Field{Key: "next", Value: next})
	if s.config.Debug.Shell {
		s.startShells(ctx)
		s.shells.Wait()
		if ctx.Err() != nil { // the machine is being stopped already
			return
		}
	}
	s.rebootSoon("bring-up failed")
}

// onPanic, deferred, is the end of a goroutine with a bug, and of the machine.
func (s *system) onPanic() {
	if bug := recover(); bug != nil {
		s.tellPanic(bug)
		s.rebootSoon("init panicked")
	}
}

// onPanicOfRun is onPanic for the goroutine that would take the request.
func (s *system) onPanicOfRun() {
	if bug := recover(); bug != nil {
		s.tellPanic(bug)
		s.countDown()
		s.force(power.Reboot)
	}
}

func (s *system) tellPanic(bug any) {
	fmt.Fprintf(&s.voice, "panic: %v\n%s", bug, debug.Stack())
	stage.Print(&s.voice, stage.Panic, stage.Field{Key: "error", Value: fmt.Sprint(bug)},
		stage.Field{Key: "next", Value: fmt.Sprintf("reboot in %v", s.delay)})
	if s.voice.console.Ports() == nil {
		s.openConsoles(console.Devices(nil, cmdline.SerialNamed))
	}
}

// rebootSoon asks for a reboot after the delay.
func (s *system) rebootSoon(reason string) {
	s.countDown()
	s.requests <- power.Request{Action: power.Reboot, Reason: reason}
}

func (s *system) countDown() {
	for left := s.delay; left > 0; left -= time.Second {
		s.say("reboot in %v", left)
		time.Sleep(time.Second)
	}
}

// stop stops the machine in order, or by force if that takes too long.
func (s *system) stop(r power.Request) {
	stage.Print(&s.voice, stage.Stopping,
		stage.Field{Key: "action", Value: r.Action.String()}, stage.Field{Key: "reason", Value: r.Reason})
	s.spawn(func() {
		time.Sleep(s.limit)
		s.say("stopping takes longer than %v: forced", s.limit)
		s.force(r.Action)
	})
	s.keepReason(r)
	if m := s.services.Load(); m != nil {
		ctx, cancel := context.WithTimeout(context.Background(), servicesLimit)
		s.warn("some services had no time to save their work", m.Stop(ctx))
		cancel()
	}
	s.warn("some processes had no time to save their work", power.Terminate(context.Background(), s.reaper, grace))
	s.warn("some filesystems were in use", power.Unmount())
	s.force(r.Action)
}

// keepReason has a child tell the next boot why this one ends: firmware may be slow,
// or crash.
func (s *system) keepReason(r power.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), reasonLimit)
	defer cancel()
	if _, err := s.ask(ctx, "reboot-reason", "save", r.Action.String()+": "+r.Reason); err != nil {
		s.log.Info("the next boot will not know why this one ended", "err", err)
	}
}

// force stops the machine after no more than writing what is left for disks and
// consoles, for each of which it does not wait long. It may be called again meanwhile.
func (s *system) force(action power.Action) {
	s.leaveWatchdog(action)
	if !s.within(forceLimit, s.sync) {
		s.say("the disks are not done in time: what is not written yet is lost")
	}
	stage.Print(&s.voice, stage.Stopped, stage.Field{Key: "action", Value: action.String()})
	s.flush()
	for _, a := range []power.Action{action, power.Reboot} {
		s.say("%v", a.Now())
		s.flush()
	}
	os.Exit(1) // the kernel panics, and reboots because of setKernelPanic
}

// leaveWatchdog ends the feeding: as of now the watchdog resets the machine if
// something hangs, the kernel included. One that is to stand still it disarms.
func (s *system) leaveWatchdog(action power.Action) {
	f := s.watchdog.Load()
	if f == nil {
		return
	}
	f.cancel()
	answers := s.within(forceLimit, func() {
		<-f.ended
		if action == power.Halt {
			s.warn("the watchdog will reset the machine", f.disarm())
		}
	})
	if !answers {
		s.say("the watchdog does not answer, and may reset the machine")
	}
}

// within does f, and tells whether that is done within the limit. If not, it goes on
// beside the caller.
func (s *system) within(limit time.Duration, f func()) bool {
	done := make(chan struct{})
	s.spawn(func() {
		defer close(done)
		f()
	})
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

func (s *system) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	s.voice.console.Flush(ctx) // those that cannot print it cannot be told
}
