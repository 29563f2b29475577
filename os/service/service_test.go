package service

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// TestPublish can not write the file at first, and has no other directory to use.
func TestPublish(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", other)
	before, err := os.Stat(other)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, File)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	var goroutines sync.WaitGroup
	logs := &syncBuffer{}
	m := New(Options{Spawn: func(f func()) { goroutines.Go(f) }, Log: slog.New(slog.NewTextHandler(logs, nil)), Dir: dir})
	if err := m.Start([]unit.Unit{{Name: "a.target"}}, "a.target"); err != nil {
		t.Fatal(err)
	}
	wait := func(what string, happened func() bool) {
		t.Helper()
		for limit := time.Now().Add(patience); !happened(); time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal(what)
			}
		}
	}
	wait("nobody is told", func() bool { return strings.Contains(logs.String(), "nobody can see the states") })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wait("the file is not tried again", func() bool {
		all, err := ReadStatuses(path)
		return err == nil && all[0].State == Active
	})
	if after, err := os.Stat(other); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("another directory is used: %v", err)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	goroutines.Wait()
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

// TestRemain has a service that is up, ends and still counts as up, which is one start.
func TestRemain(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(notifying("a.service", "notify:STATUS=link=eth0|READY=1", "exit:0"), func(u *unit.Unit) { u.Service.RemainAfterExit = true }))
		h.settle("a.service", Exited)
		h.stop(patience)
		h.mu.Lock()
		defer h.mu.Unlock()
		if !slices.Equal(h.ready, []string{"a.service link=eth0"}) {
			t.Errorf("OnReady was told %q", h.ready)
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

func TestExitsForEver(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(simple("a.service", "log:"+h.path("starts"), "exit:7"), func(u *unit.Unit) {
			u.Service.Restart, u.Service.LimitInterval, u.Service.LimitBurst = "always", time.Hour, 3
		}))
		s := h.until("a.service", Failed)
		if s.Reason != "start limit hit: exit status 7" || s.Restarts != 2 || s.LastExit != "exit status 7" {
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
		if s := h.settle("a.service", Failed); s.Reason != "/proc/self/exe: signal SIGKILL" || s.LastExit != "" {
			t.Errorf("failed: %+v", s)
		}
		if got := h.read("done", 2); got != "pre\nsignal killed KILL\n" {
			t.Errorf("done: %q", got)
		}
		if _, err := os.Stat(h.path("never")); err == nil {
			t.Error("it starts although ExecStartPre failed")
		}
	})
}

// TestLastExit has commands before and after the main process, which end in other ways. One waits for the test, after the
// main process.
func TestLastExit(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(with(simple("a.service", "wait:"+h.path("end"), "exit:7"), func(u *unit.Unit) {
			u.Service.ExecStartPre = []unit.Command{command("exit:1")}
			u.Service.ExecStartPre[0].IgnoreFailure = true
			u.Service.ExecStopPost = []unit.Command{command("wait:"+h.path("go"), "exit:2")}
		}))
		if s := h.settle("a.service", Active); s.LastExit != "" || s.PID == 0 {
			t.Errorf("it has not ended: %+v", s)
		}
		appendTo(h.path("end"), "")
		if s := h.until("a.service", Stopping); s.LastExit != "exit status 7" || s.PID != 0 {
			t.Errorf("while ExecStopPost runs: %+v", s)
		}
		appendTo(h.path("go"), "")
		if s := h.until("a.service", Failed); s.LastExit != "exit status 7" || s.Reason != "exit status 7" {
			t.Errorf("failed: %+v", s)
		}
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

func TestCannotStart(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWPID) {
		return
	}
	nothing := filepath.Join(t.TempDir(), "nothing")
	h := newHarness(t, Options{Executable: nothing})
	h.start(with(simple("a.service"), func(u *unit.Unit) {
		u.Service.Restart, u.Service.LimitInterval, u.Service.LimitBurst = "on-failure", time.Hour, 2
	}))
	h.settle("a.service", Failed)
	if !strings.Contains(h.logs.String(), "starting "+nothing+": no such file or directory, restart in") {
		t.Error("the log does not say why")
	}
}

// TestBadCommand has a program that the executor does not find.
func TestBadCommand(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		nothing := filepath.Join(t.TempDir(), "nothing")
		h.start(with(notifying("a.service"), func(u *unit.Unit) { u.Service.ExecStart[0].Path = nothing }))
		if s := h.settle("a.service", Failed); s.Reason != "exit status 203" {
			t.Errorf("failed because of %q", s.Reason)
		}
		if got := h.read("output", 1); !strings.HasPrefix(got, "<3>a.service: starting "+nothing+": ") {
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
