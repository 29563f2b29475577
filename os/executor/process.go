package executor

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/unit"
)

// newSession makes the process the leader of a session, if it is not yet.
func newSession() error {
	if sid, err := unix.Getsid(0); err == nil && sid == os.Getpid() {
		return nil
	}
	if _, err := syscall.Setsid(); err != nil {
		return failed(exitSetsid, "making a session: %w", err)
	}
	return nil
}

func setOOMScore(score *int) error {
	if score == nil {
		return nil
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(*score)), 0); err != nil {
		return failed(exitOOM, "setting OOMScoreAdjust=%d: %w", *score, err)
	}
	return nil
}

// nrOpen is the kernel's own bound of RLIMIT_NOFILE.
const nrOpen = "/proc/sys/fs/nr_open"

func setLimits(s unit.Service) error {
	for _, l := range []struct {
		name     string
		resource int
		limit    *unit.Limit
	}{
		{"LimitNPROC", unix.RLIMIT_NPROC, s.LimitNPROC},
		{"LimitCORE", unix.RLIMIT_CORE, s.LimitCORE},
		{"LimitMEMLOCK", unix.RLIMIT_MEMLOCK, s.LimitMEMLOCK},
		{"LimitNOFILE", unix.RLIMIT_NOFILE, s.LimitNOFILE},
	} {
		if l.limit == nil {
			continue
		}
		limit := *l.limit
		if l.resource == unix.RLIMIT_NOFILE {
			var err error
			if limit, err = boundFiles(limit, nrOpen); err != nil {
				return failed(exitLimits, "setting %s=: %w", l.name, err)
			}
		}
		// Not x/sys's: Go undoes its own change of RLIMIT_NOFILE before execve(2)
		// unless this function made another.
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: limit.Soft, Max: limit.Hard}); err != nil {
			return failed(exitLimits, "setting %s=%d:%d: %w", l.name, limit.Soft, limit.Hard, err)
		}
	}
	return nil
}

// boundFiles makes LimitNOFILE=infinity what the kernel takes: more than the
// number in the file is an error even for root.
func boundFiles(l unit.Limit, file string) (unit.Limit, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return l, err
	}
	most, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return l, fmt.Errorf("reading %s: %w", file, err)
	}
	return unit.Limit{Soft: min(l.Soft, most), Hard: min(l.Hard, most)}, nil
}

// closeOnExec keeps everything but standard input, output and error from the
// program.
func closeOnExec() error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return failed(exitFDs, "closing files: %w", err)
	}
	return nil
}

// resetSignals unblocks all signals and gives them their default actions. Go's own
// handlers would go with execve(2); what is ignored or blocked would stay.
func resetSignals() error {
	const signals = 64
	var action struct{ handler, flags, restorer, mask uintptr } // the kernel's; all zero is SIG_DFL
	for n := syscall.Signal(1); n <= signals; n++ {
		if n == syscall.SIGKILL || n == syscall.SIGSTOP {
			continue
		}
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n),
			uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0); errno != 0 {
			return failed(exitSignals, "resetting signal %d: %w", n, errno)
		}
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil); err != nil {
		return failed(exitSignals, "unblocking signals: %w", err)
	}
	return nil
}
