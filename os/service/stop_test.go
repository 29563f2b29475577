package service

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cgroup"
	"github.com/ember-os/ember/os/unit"
)

// TestTooSlow has commands that take longer than they may.
func TestTooSlow(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		const limit = 20 * time.Millisecond
		h.start(
			with(simple("pre.service", "log:"+h.path("never")), func(u *unit.Unit) {
				u.Service.ExecStartPre, u.Service.StartTimeout = []unit.Command{command()}, limit
			}),
			with(oneshot("oneshot.service"), func(u *unit.Unit) { u.Service.StartTimeout = limit }),
			with(simple("post.service", "exit:0"), func(u *unit.Unit) {
				u.Service.ExecStopPost, u.Service.StopTimeout = []unit.Command{command("ignore"), command("log:" + h.path("never"))}, limit
			}),
			with(notifying("process.service", "ignore"), func(u *unit.Unit) {
				u.Service.KillMode, u.Service.StartTimeout, u.Service.StopTimeout = "process", limit, limit
			}))
		for name, want := range map[string]string{
			"pre.service": "/proc/self/exe took too long", "oneshot.service": "/proc/self/exe took too long", "process.service": "not ready after 20ms",
		} {
			if s := h.settle(name, Failed); s.Reason != want {
				t.Errorf("%s failed because of %q", name, s.Reason)
			}
		}
		if s := h.until("post.service", Failed); s.Reason != "/proc/self/exe took too long" {
			t.Errorf("post.service failed because of %q", s.Reason)
		}
		h.alone()
		if _, err := os.Stat(h.path("never")); err == nil {
			t.Error("a service goes on after a command that took too long")
		}
	})
}

// TestStopBeforeReady stops services that are not up yet.
func TestStopBeforeReady(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(
			with(simple("pre.service", "log:"+h.path("never")), func(u *unit.Unit) {
				u.Service.ExecStartPre = []unit.Command{command("log:" + h.path("up")), command("log:" + h.path("never"))}
				u.Service.ExecStopPost = []unit.Command{command("log:"+h.path("post"), "exit:0")}
			}),
			with(oneshot("oneshot.service", "log:"+h.path("up")), func(u *unit.Unit) {
				u.Service.ExecStart = append(u.Service.ExecStart, command("log:"+h.path("never")))
			}),
			notifying("notify.service", "log:"+h.path("up")),
			with(simple("follows.service", "log:"+h.path("never")), func(u *unit.Unit) { u.After = []string{"notify.service"} }),
			with(simple("restarting.service", "exit:1"), func(u *unit.Unit) { u.Service.Restart, u.Service.RestartSec = "always", time.Hour }))
		h.read("up", 3)
		if s := h.until("restarting.service", Restarting); s.Reason != "exit status 1" {
			t.Errorf("it restarts because of %q", s.Reason)
		}
		h.stop(patience)
		for _, s := range h.Statuses() {
			if s.State != Dead {
				t.Errorf("stopped: %+v", s)
			}
		}
		if _, err := os.Stat(h.path("never")); err == nil {
			t.Error("a service goes on starting")
		}
		h.read("post", 1)
	})
}

// TestLeftBehind has services that are over or wait to be restarted, and whose processes are not: three that end when
// they are asked, and a deaf one.
func TestLeftBehind(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		if h.o.Cgroups == nil {
			t.Skip("sessions are forgotten with their service")
		}
		leaving := func(name, exit, child string) unit.Unit {
			up := h.path(name + ".up")
			return with(simple(name, "escape:"+child+"|log:"+up, "wait:"+up, exit), func(u *unit.Unit) { u.Service.KillMode = "process" })
		}
		logging := "logstop:" + h.path("stopped") + ":asked"
		h.start(leaving("dead.service", "exit:0", logging), leaving("failed.service", "exit:1", logging),
			with(leaving("restarting.service", "exit:1", logging), func(u *unit.Unit) { u.Service.Restart, u.Service.RestartSec = "always", time.Hour }),
			with(leaving("deaf.service", "exit:0", "ignore"), func(u *unit.Unit) { u.Service.KillMode = "none" }))
		for name, state := range map[string]State{"dead.service": Dead, "failed.service": Failed, "restarting.service": Restarting, "deaf.service": Dead} {
			h.until(name, state)
			if populated, err := (cgroup.Group{Dir: h.status(name).Cgroup}).Populated(); !populated || err != nil {
				t.Errorf("%s has left nothing behind: %v", name, err)
			}
		}
		h.stop(patience)
		if got := h.read("stopped", 3); got != strings.Repeat("asked\n", 3) {
			t.Errorf("what was left behind ended with %q", got)
		}
		if logs := h.logs.String(); !strings.Contains(logs, `msg="deaf: killing what does not end"`) {
			t.Error("the log does not say what was killed")
		}
		h.alone()
		for _, s := range h.Statuses() {
			if err := (cgroup.Group{Dir: s.Cgroup}).Remove(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestFrozen has a service with a process that it leaves behind, whose cgroup is frozen, or the one above. It is started
// again there all the same.
func TestFrozen(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		if h.o.Cgroups == nil {
			t.Skip("sessions can not be frozen")
		}
		h.start(with(simple("a.service", "fork:log:"+h.path("forked"), "wait:"+h.path("forked")), func(u *unit.Unit) {
			u.Service.KillMode, u.Service.Restart = "process", "always"
			u.Service.ExecStopPost = []unit.Command{command("exit:0")}
		}))
		for n, above := range []string{".", ".."} {
			s := h.poll("a.service", func(s Status) bool { return s.State == Active && s.Restarts == n && s.PID != 0 })
			h.read("forked", n+1)
			if err := (cgroup.Group{Dir: filepath.Join(s.Cgroup, above)}).Set("cgroup.freeze", "1"); err != nil {
				t.Fatal(err)
			}
			syscall.Kill(s.PID, syscall.SIGKILL)
		}
		h.poll("a.service", func(s Status) bool { return s.State == Active && s.Restarts == 2 })
	})
}

// TestDeafLeftovers has a process that outlives its service, and like it does not end when it is asked.
func TestDeafLeftovers(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(notifying("a.service", "ignore", "fork:ignore|log:"+h.path("forked"), "wait:"+h.path("forked"), "notify:READY=1"),
			func(u *unit.Unit) { u.Service.KillMode, u.Service.StopTimeout = "process", 20*time.Millisecond }))
		h.settle("a.service", Active)
		h.stop(patience)
		h.alone()
	})
}

// TestForksAway has processes in a session of their own if there are cgroups.
func TestForksAway(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		fork := "fork:"
		if h.o.Cgroups != nil {
			fork = "escape:"
		}
		h.start(with(simple("a.service", fork+"ignore|log:"+h.path("forked"), "wait:"+h.path("forked"), "exit:0"),
			func(u *unit.Unit) { u.Service.StopTimeout = time.Millisecond }))
		s := h.until("a.service", Dead)
		h.alone()
		if h.o.Cgroups != nil {
			if _, err := os.Stat(s.Cgroup); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("its cgroup is left: %v", err)
			}
		}
	})
}

func TestStubborn(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(notifying("a.service", "ignore", "notify:READY=1"), func(u *unit.Unit) { u.Service.StopTimeout = time.Millisecond }))
		h.settle("a.service", Active)
		h.stop(patience)
		if s := h.status("a.service"); s.State != Dead || s.LastExit != "signal SIGKILL" {
			t.Errorf("stopped: %+v", s)
		}
		if !strings.Contains(h.logs.String(), "a: killing what does not end") {
			t.Error("the log does not say who took the time")
		}
	})
}

// TestHurry has services with no limit to their stopping: one that is active, one
// that starts for ever, one whose ExecStopPost hangs, and one that waits for them.
func TestHurry(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		stubborn := func(name string, words ...string) unit.Unit {
			return with(notifying(name, append([]string{"ignore", "log:" + h.path("up")}, words...)...), func(u *unit.Unit) { u.Service.StopTimeout = 0 })
		}
		h.start(stubborn("active.service", "notify:READY=1"), stubborn("starting.service"),
			with(simple("waiting.service"), func(u *unit.Unit) { u.After = []string{"starting.service"} }),
			with(simple("post.service"), func(u *unit.Unit) {
				u.Service.ExecStopPost = []unit.Command{command("ignore", "log:"+h.path("post")), command("log:" + h.path("post2"))}
				u.Service.StopTimeout = 0
			}))
		h.settle("active.service", Active)
		h.settle("post.service", Active)
		h.read("up", 2)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			h.read("post", 1)
			cancel()
		}()
		err := h.Stop(ctx)
		if err == nil || err.Error() != "stopping services: no more time for active.service, post.service, starting.service" {
			t.Errorf("Stop says %v", err)
		}
		h.alone()
		for _, s := range h.Statuses() {
			if s.State != Dead {
				t.Errorf("stopped: %+v", s)
			}
		}
		if h.Stop(ctx) == nil {
			t.Error("it stops twice")
		}
		if _, err := os.Stat(h.path("post2")); err == nil {
			t.Error("commands are started when there is no time for them")
		}
	})
}

// TestGrace has services that would stop in order, behind some that do not stop. The one that is to be the last ends
// well, whether it is its turn before its grace ends or not.
func TestGrace(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		deaf := func(name string, after ...string) unit.Unit {
			return with(notifying(name, "ignore", "notify:READY=1"), func(u *unit.Unit) { u.Service.StopTimeout, u.After = 0, after })
		}
		lingering := func(name string) unit.Unit {
			return notifying(name, "linger:"+h.path(name)+":done", "notify:READY=1")
		}
		h.start(lingering("early.service"), deaf("asked.service", "early.service"),
			lingering("late.service"), deaf("late-asked.service", "late.service"), deaf("first.service", "late-asked.service"))
		for _, name := range []string{"early.service", "asked.service", "late.service", "late-asked.service", "first.service"} {
			h.settle(name, Active)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := h.Stop(ctx)
		if err == nil || err.Error() != "stopping services: no more time for asked.service, first.service, late-asked.service" {
			t.Errorf("Stop says %v", err)
		}
		h.read("early.service", 1)
		h.read("late.service", 1)
		h.alone()
	})
}

// TestKillModeProcess has a process that outlives its service, but not the manager.
func TestKillModeProcess(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(notifying("a.service", "fork:logstop:"+h.path("stopped")+":it|log:"+h.path("forked"), "wait:"+h.path("forked"), "notify:READY=1"),
			func(u *unit.Unit) { u.Service.KillMode, u.Service.Restart = "process", "on-abnormal" }))
		s := h.settle("a.service", Active)
		syscall.Kill(s.PID, syscall.SIGKILL)
		h.poll("a.service", func(s Status) bool { return s.State == Active && s.Restarts == 1 })
		h.read("forked", 2)
		if _, err := os.Stat(h.path("stopped")); err == nil {
			t.Error("what it forked was stopped")
		}
		if h.o.Cgroups == nil { // sessions are forgotten with their service
			h.stop(patience)
			syscall.Kill(-1, syscall.SIGKILL)
			return
		}
		h.stop(patience)
		if got := h.read("stopped", 2); got != "it\nit\n" {
			t.Errorf("what it forked ended with %q", got)
		}
	})
}

func TestKillModeMixed(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(notifying("a.service", "fork:logstop:"+h.path("stopped")+":it|log:"+h.path("forked"), "wait:"+h.path("forked"), "notify:READY=1"),
			func(u *unit.Unit) { u.Service.KillMode = "mixed" }))
		h.settle("a.service", Active)
		h.stop(patience)
		h.alone()
		if _, err := os.Stat(h.path("stopped")); err == nil {
			t.Error("not only the main process got SIGTERM")
		}
		if strings.Contains(h.logs.String(), "killing what does not end") {
			t.Error("the log says that it took time to end")
		}
	})
}

func TestStopping(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(notifying("a.service", "notify:READY=1|STOPPING=1", "wait:"+h.path("go"), "exit:0"),
			with(notifying("b.service", "ignore", "notify:READY=1|STOPPING=1"), func(u *unit.Unit) { u.Service.StopTimeout = time.Millisecond }))
		h.until("a.service", Stopping)
		appendTo(h.path("go"), "")
		h.until("a.service", Dead)
		if s := h.until("b.service", Failed); s.Reason != "still stopping after 1ms" {
			t.Errorf("failed because of %q", s.Reason)
		}
		h.alone()
	})
}
