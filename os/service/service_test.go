package service

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cgroup"
	"github.com/ember-os/ember/os/nstest"
	"github.com/ember-os/ember/os/unit"
)

func notifying(name string, words ...string) unit.Unit {
	return with(simple(name, words...), func(u *unit.Unit) { u.Service.Type = unit.Notify })
}

func oneshot(name string, words ...string) unit.Unit {
	return with(simple(name, words...), func(u *unit.Unit) { u.Service.Type = unit.Oneshot })
}

func TestReady(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(notifying("a.service", "notify:junk|STATUS=coming up", "wait:"+h.path("go"), "notify:STATUS=link=eth0|READY=1"))
		s := h.poll("a.service", func(s Status) bool { return s.Text == "coming up" && s.PID != 0 })
		if s.State != Starting {
			t.Errorf("before it is ready: %+v", s)
		}
		appendTo(h.path("go"), "")
		s = h.settle("a.service", Active)
		if err := syscall.Kill(s.PID, 0); err != nil {
			t.Errorf("its PID %d: %v", s.PID, err)
		}
		if s.Text != "link=eth0" || s.Since == 0 {
			t.Errorf("ready: %+v", s)
		}
		h.until("a.service", Active)
		h.mu.Lock()
		if !slices.Equal(h.ready, []string{"a.service link=eth0"}) {
			t.Errorf("OnReady was told %q", h.ready)
		}
		h.mu.Unlock()
		for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			all, err := ReadStatuses(h.path(File))
			if err == nil && len(all) == 1 && all[0].State == Active && all[0].PID == s.PID {
				break
			}
			if time.Now().After(limit) {
				t.Fatalf("the file says %+v, %v", all, err)
			}
		}
		h.stop(patience)
		if s := h.status("a.service"); s.State != Dead || s.LastExit != "signal SIGTERM" || s.PID != 0 {
			t.Errorf("stopped: %+v", s)
		}
		if all, err := ReadStatuses(h.path(File)); err != nil || all[0].State != Dead {
			t.Errorf("the file says %+v, %v", all, err)
		}
		if err := h.Start(nil, "a.service"); err == nil {
			t.Error("a manager that has stopped starts services")
		}
	})
}

// TestOrder has a target that wants what is not there too.
func TestOrder(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		logs := h.path("order")
		service := func(name string, after ...string) unit.Unit {
			return with(notifying(name, "logstop:"+logs+":-"+name, "log:"+logs+":+"+name, "notify:READY=1"), func(u *unit.Unit) { u.After = after })
		}
		units := []unit.Unit{
			{Name: "all.target", Requires: []string{"middle.target"}, Wants: []string{"c", "missing.service"}},
			{Name: "middle.target", Wants: []string{"b", "a"}},
			service("c", "middle.target", "missing.service", "unused"), service("b", "a"), service("a"), service("unused"),
		}
		if err := h.Start(units, "all.target"); err != nil {
			t.Fatal(err)
		}
		h.settle("all.target", Active)
		if s := h.status("unused"); s.State != Dead {
			t.Errorf("nobody wants it: %+v", s)
		}
		h.stop(patience)
		if got := strings.Fields(h.read("order", 6)); !slices.Equal(got, []string{"+a", "+b", "+c", "-c", "-b", "-a"}) {
			t.Errorf("the order was %q", got)
		}
	})
}

func TestDependencies(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(
			simple("bad.service", "exit:3"),
			oneshot("bad-oneshot.service", "exit:3"),
			with(simple("needs.service"), func(u *unit.Unit) {
				u.Requires, u.After = []string{"bad-oneshot.service"}, []string{"bad-oneshot.service"}
			}),
			with(simple("needs-needs.service"), func(u *unit.Unit) { u.Requires, u.After = []string{"needs.service"}, []string{"needs.service"} }),
			with(simple("needs-missing.service"), func(u *unit.Unit) { u.Requires = []string{"missing.service"} }),
			with(simple("follows.service"), func(u *unit.Unit) { u.Wants, u.After = []string{"bad-oneshot.service"}, []string{"needs.service"} }),
			with(simple("broken.service"), func(u *unit.Unit) { u.Error = "ExecStart is not understood" }),
			with(simple("empty.service"), func(u *unit.Unit) { u.Service.ExecStart = nil }),
			simple("a/b.service"),
		)
		for name, want := range map[string]string{
			"bad-oneshot.service":   "exit status 3",
			"needs.service":         "dependency failed: bad-oneshot.service",
			"needs-needs.service":   "dependency failed: needs.service",
			"needs-missing.service": "dependency failed: there is no missing.service",
			"broken.service":        "ExecStart is not understood",
			"empty.service":         "it has 0 ExecStart commands where it must have one",
			"a/b.service":           "its name is not that of a file",
			"bad.service":           "exit status 3",
		} {
			if s := h.settle(name, Failed); s.Reason != want {
				t.Errorf("%s failed because of %q, want %q", name, s.Reason, want)
			}
		}
		h.settle("follows.service", Active)
		if err := h.Start(nil, "missing.service"); err == nil {
			t.Error("a unit that is not there was started")
		}
		if _, err := h.Wait(t.Context(), "missing.service"); err == nil {
			t.Error("Wait for a unit that is not there")
		}
	})
}

// TestRequiredRestarts has a service that comes up at the second attempt. What only
// starts after it does not wait for that; what requires it does.
func TestRequiredRestarts(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		after := func(name string, requires ...string) unit.Unit {
			return with(simple(name), func(u *unit.Unit) { u.After, u.Requires = []string{"a.service"}, requires })
		}
		h.start(after("follows.service"), after("needs.service", "a.service"),
			with(notifying("a.service", "notify:READY=1"), func(u *unit.Unit) {
				// The second attempt finds the file of the first, and waits for the test.
				u.Service.ExecStartPre = []unit.Command{command("once:"+h.path("first"), "wait:"+h.path("go"), "exit:0")}
				u.Service.Restart = "on-failure"
			}))
		h.settle("follows.service", Active)
		if s := h.status("needs.service"); s.State != Waiting {
			t.Errorf("what requires it does not wait: %+v", s)
		}
		appendTo(h.path("go"), "")
		h.settle("needs.service", Active)
		if s := h.settle("a.service", Active); s.Restarts != 1 || s.LastExit != "exit status 0" {
			t.Errorf("what it requires: %+v", s)
		}
	})
}

func TestCycle(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		after := func(name, other string) unit.Unit {
			return with(simple(name), func(u *unit.Unit) { u.After = []string{other} })
		}
		h.start(after("a.service", "b.service"), after("b.service", "c.service"), after("c.service", "a.service"), after("d.service", "d.service"),
			unit.Unit{Name: "t.target", Wants: []string{"e.service"}}, after("e.service", "t.target"))
		for _, name := range []string{"a.service", "b.service", "c.service", "d.service", "e.service", "t.target"} {
			h.settle(name, Active)
		}
		for _, want := range []string{"c.service does not start after a.service, which starts after it", "d.service does not start after d.service"} {
			if strings.Count(h.logs.String(), want) != 1 {
				t.Errorf("the log does not say once: %s", want)
			}
		}
		if n := strings.Count(h.logs.String(), "does not start after"); n != 2 {
			t.Errorf("the log has %d cycles", n)
		}
	})
}

func TestNeverReady(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(notifying("a.service", "ignore"), func(u *unit.Unit) {
			u.Service.StartTimeout, u.Service.StopTimeout = 20*time.Millisecond, 20*time.Millisecond
		}))
		if s := h.settle("a.service", Failed); s.Reason != "not ready after 20ms" {
			t.Errorf("failed because of %q", s.Reason)
		}
		h.alone()
	})
}

func TestProtocol(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		// It ends before all of its messages are read.
		brief := append(slices.Repeat([]string{"notify:STATUS=long"}, 9), "notify:READY=1|STATUS=brief", "exit:0")
		h.start(notifying("silent.service", "exit:0"), notifying("brief.service", brief...))
		if s := h.settle("silent.service", Failed); s.Reason != "exit status 0 before it was ready" {
			t.Errorf("failed because of %q", s.Reason)
		}
		if s := h.settle("brief.service", Dead); s.Text != "brief" || s.LastExit != "exit status 0" {
			t.Errorf("it said that it was ready: %+v", s)
		}
	})
}

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

// TestLeftBehind has a service that is over and whose process is not.
func TestLeftBehind(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		if h.o.Cgroups == nil {
			t.Skip("sessions are forgotten with their service")
		}
		h.start(with(simple("a.service", "escape:ignore|log:"+h.path("up"), "wait:"+h.path("up"), "exit:0"), func(u *unit.Unit) { u.Service.KillMode = "none" }))
		h.until("a.service", Dead)
		if populated, err := (cgroup.Group{Dir: h.status("a.service").Cgroup}).Populated(); !populated || err != nil {
			t.Errorf("it has left nothing behind: %v", err)
		}
		h.stop(patience)
		h.alone()
		if err := (cgroup.Group{Dir: h.status("a.service").Cgroup}).Remove(); err != nil {
			t.Error(err)
		}
	})
}

// TestUpTime has a service that counts as having been up for long.
func TestUpTime(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWPID) {
		return
	}
	h := newHarness(t, Options{UpTime: time.Nanosecond, BackOffMax: time.Hour})
	h.start(with(simple("a.service", "exit:0"), func(u *unit.Unit) { u.Service.Restart = "always" }))
	h.poll("a.service", func(s Status) bool { return s.Restarts >= 3 })
	if logs := h.logs.String(); !strings.Contains(logs, "a: ended: exit status 0, restart in 0s") || strings.Contains(logs, "restart in 200ms") {
		t.Error("the delay was not reset")
	}
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

func TestExitsForEver(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(simple("a.service", "log:"+h.path("starts"), "exit:7"), func(u *unit.Unit) {
			u.Service.Restart, u.Service.LimitInterval, u.Service.LimitBurst = "always", time.Hour, 3
		}))
		s := h.until("a.service", Failed)
		if s.Reason != "start limit hit" || s.Restarts != 2 || s.LastExit != "exit status 7" {
			t.Errorf("given up: %+v", s)
		}
		if got := h.read("starts", 3); got != "\n\n\n" {
			t.Errorf("it was started %d times", len(got))
		}
		if !strings.Contains(h.logs.String(), "a: failed: exit status 7, restart in 0s") {
			t.Error("the log does not show the restart")
		}
	})
}

func TestOneshot(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		logs := h.path("done")
		h.start(
			with(oneshot("a.service", "log:"+logs+":one", "exit:1"), func(u *unit.Unit) {
				u.Service.RemainAfterExit = true
				u.Service.ExecStart[0].IgnoreFailure = true
				u.Service.ExecStart = append(u.Service.ExecStart, command("log:"+logs+":two", "exit:0"))
				u.Service.ExecStopPost = []unit.Command{command("log:"+logs+":after $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS", "exit:0")}
			}),
			with(oneshot("b.service", "exit:2"), func(u *unit.Unit) {
				u.Service.ExecStart = append(u.Service.ExecStart, command("log:"+h.path("never")))
			}))
		h.settle("a.service", Exited)
		h.settle("b.service", Failed)
		h.stop(patience)
		if got := h.read("done", 3); got != "one\ntwo\nafter success exited 0\n" {
			t.Errorf("done: %q", got)
		}
		if _, err := os.Stat(h.path("never")); err == nil {
			t.Error("a oneshot goes on after a failure")
		}
	})
}

func TestPreAndPost(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		logs := h.path("done")
		h.start(with(simple("a.service", "log:"+h.path("never")), func(u *unit.Unit) {
			u.Service.ExecStartPre = []unit.Command{command("log:"+logs+":pre", "exit:0"), command("abort")}
			u.Service.ExecStopPost = []unit.Command{command("log:"+logs+":$SERVICE_RESULT $EXIT_CODE $EXIT_STATUS", "exit:0")}
		}))
		if s := h.settle("a.service", Failed); s.Reason != "signal SIGKILL" {
			t.Errorf("failed because of %q", s.Reason)
		}
		if got := h.read("done", 2); got != "pre\nsignal killed KILL\n" {
			t.Errorf("done: %q", got)
		}
		if _, err := os.Stat(h.path("never")); err == nil {
			t.Error("it starts although ExecStartPre failed")
		}
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

func TestOutput(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		output := h.o.Output
		h.o.Output = func(name string, o unit.Output) (*os.File, error) {
			if name == "lost.service" {
				return nil, errors.New("no file")
			}
			if o != unit.JournalConsole {
				t.Errorf("%s has output %q", name, o)
			}
			return output(name, o)
		}
		null := with(oneshot("null.service", "print:nothing", "exit:0"), func(u *unit.Unit) { u.Service.Output = unit.Null })
		h.start(null, oneshot("lost.service", "print:nothing", "exit:0"),
			with(oneshot("a.service", "print:text", "exit:0"), func(u *unit.Unit) { u.Service.Output = unit.JournalConsole }))
		for _, name := range []string{"null.service", "lost.service", "a.service"} {
			h.settle(name, Dead)
		}
		if got := h.read("output", 2); got != "text\nerror: text\n" {
			t.Errorf("printed %q", got)
		}
		if !strings.Contains(h.logs.String(), "the output of services is lost") {
			t.Error("the log says nothing of the lost output")
		}
	})
}

// TestMerge starts more units later, which replace what is known.
func TestMerge(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		target := unit.Unit{Name: "all.target", Wants: []string{"a.service", "b.service"}}
		a := simple("a.service")
		if err := h.Start([]unit.Unit{target, a, oneshot("b.service", "exit:1")}, "all.target"); err != nil {
			t.Fatal(err)
		}
		pid := h.settle("a.service", Active).PID
		h.settle("b.service", Failed)
		h.settle("all.target", Active)

		target.Wants = append(target.Wants, "c.service")
		a.Description = "changed"
		c := with(simple("c.service"), func(u *unit.Unit) { u.Problems = []string{"c.service:3: FooBar= is not supported"} })
		if err := h.Start([]unit.Unit{target, a, oneshot("b.service", "exit:0"), c}, "all.target"); err != nil {
			t.Fatal(err)
		}
		h.settle("b.service", Dead)
		if s := h.settle("c.service", Active); !slices.Equal(s.Problems, c.Problems) {
			t.Errorf("its problems: %q", s.Problems)
		}
		if s := h.status("a.service"); s.PID != pid || s.Description != "" {
			t.Errorf("what runs was changed: %+v", s)
		}
		for _, want := range []string{"a.service has changed, but runs as it was", "c: " + c.Problems[0]} {
			if strings.Count(h.logs.String(), want) != 1 {
				t.Errorf("the log does not say once: %s", want)
			}
		}
		if s := h.status("all.target"); !slices.Equal(s.Units, []string{"a.service", "b.service", "c.service"}) {
			t.Errorf("the target's units: %q", s.Units)
		}
	})
}

func TestCannotStart(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWPID) {
		return
	}
	h := newHarness(t, Options{Executable: "/nonexistent"})
	h.start(with(simple("a.service"), func(u *unit.Unit) {
		u.Service.Restart, u.Service.LimitInterval, u.Service.LimitBurst = "on-failure", time.Hour, 2
	}))
	h.settle("a.service", Failed)
	if !strings.Contains(h.logs.String(), "starting /nonexistent: no such file or directory, restart in") {
		t.Error("the log does not say why")
	}
}

// TestBadCommand has a program that the executor does not find.
func TestBadCommand(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(notifying("a.service"), func(u *unit.Unit) { u.Service.ExecStart[0].Path = "/nonexistent" }))
		if s := h.settle("a.service", Failed); s.Reason != "exit status 203" {
			t.Errorf("failed because of %q", s.Reason)
		}
		if got := h.read("output", 1); !strings.HasPrefix(got, "<3>a.service: starting /nonexistent: ") {
			t.Errorf("printed %q", got)
		}
	})
}

func TestTasksMax(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(simple("a.service"), func(u *unit.Unit) { u.Service.TasksMax = "77" }))
		s := h.settle("a.service", Active)
		if h.o.Cgroups == nil {
			return
		}
		procs, err := os.ReadFile(filepath.Join(s.Cgroup, "cgroup.procs"))
		if err != nil || len(strings.Fields(string(procs))) != 1 {
			t.Errorf("its cgroup has the processes %q, %v", procs, err)
		}
		limit, err := os.ReadFile(filepath.Join(s.Cgroup, "pids.max"))
		if err != nil {
			if !strings.Contains(h.logs.String(), "a.service runs without TasksMax") {
				t.Error("the log says nothing of the missing limit")
			}
		} else if string(limit) != "77\n" {
			t.Errorf("pids.max is %q", limit)
		}
		if cgroup.ReadUsage(s.Cgroup) != (cgroup.Usage{}) != (err == nil) {
			t.Error("usage and controllers do not fit")
		}
	})
}
