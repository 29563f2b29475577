package service

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ember-os/ember/os/unit"
	"golang.org/x/sys/unix"
)

// kind is how a service or one of its commands ended, with the words of
// $SERVICE_RESULT in systemd.exec(5).
type kind string

const (
	success   kind = "success"
	exitCode  kind = "exit-code"
	signalled kind = "signal"
	coreDump  kind = "core-dump"
	timedOut  kind = "timeout"
	protocol  kind = "protocol"  // it ended well, without saying READY=1
	resources kind = "resources" // it could not be started
)

// result is an end, good or bad.
type result struct {
	kind   kind
	what   string // for people; "" while nothing has ended
	status syscall.WaitStatus
	ended  bool // status is valid
}

// good is also the result of what was cut short because the service has to stop.
var good = result{kind: success}

func (r result) ok() bool { return r.kind == success }

// clean has the signals that end a service well, oneshots excepted.
var clean = map[syscall.Signal]bool{
	syscall.SIGHUP: true, syscall.SIGINT: true, syscall.SIGTERM: true, syscall.SIGPIPE: true,
}

// resultOf is what the end of a process means. It is always success if
// ignoreFailure says so.
func resultOf(status syscall.WaitStatus, oneshot, ignoreFailure bool) result {
	r := result{kind: success, status: status, ended: true}
	if status.Signaled() {
		r.what = "signal " + signalName(status.Signal())
		switch {
		case status.CoreDump():
			r.kind = coreDump
			r.what += " (core dumped)"
		case oneshot || !clean[status.Signal()]:
			r.kind = signalled
		}
	} else {
		r.what = "exit status " + strconv.Itoa(status.ExitStatus())
		if status.ExitStatus() != 0 {
			r.kind = exitCode
		}
	}
	if ignoreFailure {
		r.kind = success
	}
	return r
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return strconv.Itoa(int(s))
}

func failure(k kind, format string, args ...any) result {
	return result{kind: k, what: fmt.Sprintf(format, args...)}
}

// variables is what ExecStopPost commands get to know, see systemd.exec(5).
func (r result) variables() []string {
	v := []string{"SERVICE_RESULT=" + string(r.kind)}
	switch {
	case !r.ended:
		return v
	case r.status.CoreDump():
		v = append(v, "EXIT_CODE=dumped")
	case r.status.Signaled():
		v = append(v, "EXIT_CODE=killed")
	default:
		return append(v, "EXIT_CODE=exited", "EXIT_STATUS="+strconv.Itoa(r.status.ExitStatus()))
	}
	return append(v, "EXIT_STATUS="+strings.TrimPrefix(signalName(r.status.Signal()), "SIG"))
}

// restarts is the table of Restart= in systemd.service(5). There are no watchdogs
// of services here, so on-watchdog is never.
func restarts(policy unit.Restart, k kind) bool {
	switch policy {
	case "always":
		return true
	case "on-success":
		return k == success
	case "on-failure":
		return k != success
	case "on-abnormal":
		return k != success && k != exitCode
	case "on-abort":
		return k == signalled || k == coreDump
	}
	return false
}

// limiter is a start limit: burst starts in an interval, which begins with a start.
type limiter struct {
	interval time.Duration // 0 for no limit
	burst    int
	began    time.Time
	starts   int
}

func (l *limiter) allow(now time.Time) bool {
	if l.interval <= 0 || l.burst <= 0 {
		return true
	}
	if l.began.IsZero() || now.Sub(l.began) > l.interval {
		l.began, l.starts = now, 0
	}
	l.starts++
	return l.starts <= l.burst
}

// backOff is the delay before a restart: RestartSec at first, then twice as much
// each time, up to a maximum.
type backOff struct {
	first, most time.Duration
	next        time.Duration // 0 for first
}

// leastDelay keeps a service with RestartSec=0 from restarting all the time.
const leastDelay = 100 * time.Millisecond

func (b *backOff) delay() time.Duration {
	d := b.next
	if d == 0 {
		d = b.first
	}
	b.next = min(2*max(d, leastDelay), max(b.first, b.most))
	return d
}

func (b *backOff) reset() { b.next = 0 }
