package service

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/unit"
)

const coreFlag = 0x80 // see wait(2)

func exited(code int) syscall.WaitStatus             { return syscall.WaitStatus(code << 8) }
func killed(s syscall.Signal) syscall.WaitStatus     { return syscall.WaitStatus(s) }
func coreDumped(s syscall.Signal) syscall.WaitStatus { return syscall.WaitStatus(s) | coreFlag }

func TestResultOf(t *testing.T) {
	for _, tt := range []struct {
		status          syscall.WaitStatus
		oneshot, ignore bool
		kind            kind
		what            string
		variables       []string
	}{
		{exited(0), false, false, success, "exit status 0", []string{"SERVICE_RESULT=success", "EXIT_CODE=exited", "EXIT_STATUS=0"}},
		{exited(3), false, false, exitCode, "exit status 3", []string{"SERVICE_RESULT=exit-code", "EXIT_CODE=exited", "EXIT_STATUS=3"}},
		{exited(3), false, true, success, "exit status 3", []string{"SERVICE_RESULT=success", "EXIT_CODE=exited", "EXIT_STATUS=3"}},
		{killed(syscall.SIGTERM), false, false, success, "signal SIGTERM", []string{"SERVICE_RESULT=success", "EXIT_CODE=killed", "EXIT_STATUS=TERM"}},
		{killed(syscall.SIGTERM), true, false, signalled, "signal SIGTERM", []string{"SERVICE_RESULT=signal", "EXIT_CODE=killed", "EXIT_STATUS=TERM"}},
		{killed(syscall.SIGKILL), false, false, signalled, "signal SIGKILL", []string{"SERVICE_RESULT=signal", "EXIT_CODE=killed", "EXIT_STATUS=KILL"}},
		{killed(40), false, false, signalled, "signal 40", []string{"SERVICE_RESULT=signal", "EXIT_CODE=killed", "EXIT_STATUS=40"}},
		{coreDumped(syscall.SIGSEGV), false, false, coreDump, "signal SIGSEGV (core dumped)", []string{"SERVICE_RESULT=core-dump", "EXIT_CODE=dumped", "EXIT_STATUS=SEGV"}},
	} {
		r := resultOf(tt.status, tt.oneshot, tt.ignore)
		if r.kind != tt.kind || r.what != tt.what || !slices.Equal(r.variables(), tt.variables) {
			t.Errorf("%#x: %+v, %q", tt.status, r, r.variables())
		}
	}
	if got := failure(timedOut, "x").variables(); !slices.Equal(got, []string{"SERVICE_RESULT=timeout"}) {
		t.Errorf("variables of a timeout: %q", got)
	}
}

// TestRestarts has the table of systemd.service(5) row by row.
func TestRestarts(t *testing.T) {
	policies := []unit.Restart{"no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"}
	for k, want := range map[kind][]unit.Restart{
		success:   {"always", "on-success"},
		exitCode:  {"always", "on-failure"},
		signalled: {"always", "on-failure", "on-abnormal", "on-abort"},
		coreDump:  {"always", "on-failure", "on-abnormal", "on-abort"},
		timedOut:  {"always", "on-failure", "on-abnormal"},
		protocol:  {"always", "on-failure", "on-abnormal"},
		resources: {"always", "on-failure", "on-abnormal"},
	} {
		var got []unit.Restart
		for _, p := range policies {
			if restarts(p, k) {
				got = append(got, p)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s restarts with %q, want %q", k, got, want)
		}
	}
}

func TestLimiter(t *testing.T) {
	now := time.Unix(1000, 0)
	l := limiter{interval: 10 * time.Second, burst: 2}
	for i, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {9 * time.Second, true}, {time.Second, false}, {time.Second, true}, {0, true}, {0, false}} {
		now = now.Add(step.after)
		if got := l.allow(now); got != step.want {
			t.Errorf("start %d is allowed: %v", i, got)
		}
	}
	for _, l := range []limiter{{burst: 1}, {interval: time.Hour}} {
		for range 2 {
			if !l.allow(now) {
				t.Errorf("%+v is a limit", l)
			}
		}
	}
}

func TestBackOff(t *testing.T) {
	const ms = time.Millisecond
	for first, want := range map[time.Duration][]time.Duration{
		0:         {0, 200 * ms, 400 * ms, 800 * ms, time.Second, time.Second},
		100 * ms:  {100 * ms, 200 * ms, 400 * ms, 800 * ms, time.Second, time.Second},
		5000 * ms: {5000 * ms, 5000 * ms, 5000 * ms},
	} {
		b := backOff{first: first, most: time.Second}
		var got []time.Duration
		for range want {
			got = append(got, b.delay())
		}
		if !slices.Equal(got, want) {
			t.Errorf("RestartSec=%v: delays %v, want %v", first, got, want)
		}
		if b.reset(); b.delay() != first {
			t.Errorf("RestartSec=%v: reset does nothing", first)
		}
	}
}

func TestExtend(t *testing.T) {
	a := activation{timer: time.NewTimer(time.Hour)}
	a.limit(time.Hour)
	soon := a.until
	if a.extend(time.Minute); a.until != soon {
		t.Error("a limit is shortened")
	}
	if a.extend(2 * time.Hour); !a.until.After(soon) {
		t.Error("a limit is not extended")
	}
	if a.limit(0); !a.until.IsZero() || a.timer.Stop() {
		t.Error("there is still a limit")
	}
	if a.extend(time.Hour); !a.until.IsZero() || a.timer.Stop() {
		t.Error("no limit is extended")
	}
	a.limit(time.Nanosecond)
	<-a.timer.C
}
