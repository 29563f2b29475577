package toolroot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

const (
	stageName = "toolroot-stage" // argv[0] of the calling program when it is started again
	reportFD  = 3                // where the stage says why the command does not run
)

// spec is what Command tells the stage.
type spec struct {
	Root  string
	Dir   string
	Binds []Bind
	KVM   bool
	NoNet bool
}

var initCalled bool

// Init makes a program able to run commands in a tool root. It must be the
// first call of main or TestMain. In the program itself it returns at once;
// where the program was started again as a command's first process it sets up
// the root, runs the command and never returns.
func Init() {
	if os.Args[0] != stageName {
		initCalled = true
		return
	}
	report := os.NewFile(reportFD, "report")
	status, err := stage(report)
	if err != nil {
		fmt.Fprint(report, err)
	}
	os.Exit(status)
}

// stage is PID 1 of the new namespaces: it turns them into the tool root, runs
// the command and returns its exit status. It closes report when the command runs.
func stage(report *os.File) (int, error) {
	// Nothing that the caller itself inherited may reach the command.
	if err := unix.CloseRange(reportFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return StatusSetup, fmt.Errorf("closing inherited files (Linux 5.12 or newer is needed): %w", err)
	}
	var s spec
	if err := json.Unmarshal([]byte(os.Args[1]), &s); err != nil {
		return StatusSetup, fmt.Errorf("reading the command's settings: %w", err)
	}
	unix.Umask(0o022)
	if err := unix.Sethostname([]byte("toolroot")); err != nil {
		return StatusSetup, refused("setting the host name", err)
	}
	if s.NoNet {
		if err := loopbackUp(); err != nil {
			return StatusSetup, fmt.Errorf("bringing up the loopback interface: %w", err)
		}
	}
	if err := s.enter(); err != nil {
		return StatusSetup, err
	}
	if err := os.Chdir(s.Dir); err != nil {
		return StatusSetup, fmt.Errorf("entering the working directory: %w", err)
	}

	argv := os.Args[2:]
	path, err := exec.LookPath(argv[0])
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return StatusNotFound, fmt.Errorf("the tool root %s has no command %s", s.Root, argv[0])
	} else if err != nil {
		return StatusNotRunnable, err
	}
	relay := newRelay()
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return StatusNotRunnable, err
	}
	go relay.to(p)
	report.Close()
	return reap(p.Pid), nil
}

// reap waits for every process that ends, as PID 1 must, until pid has; it
// returns pid's exit status. The kernel kills what is left when PID 1 exits.
func reap(pid int) int {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case err != nil || got != pid: // EINTR, or an orphan
		case ws.Exited():
			return ws.ExitStatus()
		case ws.Signaled():
			return 128 + int(ws.Signal())
		}
	}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
