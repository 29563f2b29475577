// Package executor starts a service's program: PID 1 starts it as "ember exec" in
// the service's cgroup, with standard input, output and error as the program is to
// have them and with a Spec as JSON on file descriptor 3. It makes the process what
// the unit says, reads and expands what PID 1 should not, and becomes the program,
// with the same PID.
//
// The order of things and the exit statuses are those of systemd.exec(5). What can
// not be done is one line on standard error, in the form of package logline.
package executor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/unit"
)

// The exit statuses, from "Process Exit Codes" of systemd.exec(5).
const (
	exitFailure = 1  // there is no Spec
	exitConfig  = 78 // EnvironmentFile=
	exitChdir   = 200
	exitFDs     = 202
	exitExec    = 203
	exitLimits  = 205
	exitOOM     = 206
	exitSignals = 207
	exitSetsid  = 220
)

// specFD is where the Spec comes from.
const specFD = 3

// Spec is what to start.
type Spec struct {
	Unit    string // for messages
	Command unit.Command
	Environ []string // what PID 1 gives; the service's own variables override it
	// Service is whose environment, working directory, limits and OOM score apply.
	Service unit.Service
}

// failure is an error with its exit status.
type failure struct {
	status int
	error
}

func (f failure) Unwrap() error { return f.error }

func failed(status int, format string, args ...any) error {
	return failure{status, fmt.Errorf(format, args...)}
}

// Main is the program "ember exec". It returns only if it could not start the
// service's program.
func Main(args []string) int {
	runtime.LockOSThread() // the session, the signal mask and execve(2) are a thread's
	if len(args) > 0 {
		return report("ember exec", failed(exitFailure, "unexpected argument %q: only PID 1 starts this", args[0]))
	}
	spec, err := readSpec(os.NewFile(specFD, "spec"))
	if err != nil {
		return report("ember exec", err)
	}
	return report(spec.Unit, spec.exec(os.Stderr))
}

func report(name string, err error) int {
	fmt.Fprintln(os.Stderr, logline.Line{Severity: logline.Error, Text: fmt.Sprintf("%s: %v", name, err)})
	if f, ok := errors.AsType[failure](err); ok {
		return f.status
	}
	return exitFailure
}

func readSpec(r io.ReadCloser) (Spec, error) {
	defer r.Close()
	var spec Spec
	if err := unit.ReadJSON(r, &spec); err != nil {
		return spec, fmt.Errorf("reading what to start: %w", err)
	}
	if spec.Command.Path == "" || len(spec.Command.Args) == 0 {
		return spec, errors.New("there is nothing to start")
	}
	return spec, nil
}

// exec becomes the program. Warnings go to w.
func (s Spec) exec(w io.Writer) error {
	env, err := s.environment(func(text string) {
		fmt.Fprintln(w, logline.Line{Severity: logline.Warning, Text: s.Unit + ": " + text})
	})
	if err != nil {
		return err
	}
	if err := newSession(); err != nil {
		return err
	}
	if err := setOOMScore(s.Service.OOMScoreAdjust); err != nil {
		return err
	}
	if err := setLimits(s.Service); err != nil {
		return err
	}
	syscall.Umask(0o022)
	if err := changeDirectory(s.Service); err != nil {
		return err
	}
	path, err := findProgram(s.Command.Path, env)
	if err != nil {
		return err
	}
	args := s.Command.Args
	if !s.Command.Literal {
		args = expandArgs(args, env)
	}
	if err := closeOnExec(); err != nil {
		return err
	}
	if err := resetSignals(); err != nil {
		return err
	}
	return failed(exitExec, "starting %s: %w", path, syscall.Exec(path, args, env.list()))
}

func changeDirectory(s unit.Service) error {
	dir := s.WorkingDirectory
	if dir == "" {
		dir = "/"
	}
	err := os.Chdir(dir)
	if s.DirectoryOptional && errors.Is(err, fs.ErrNotExist) {
		err = os.Chdir("/")
	}
	if err != nil {
		return failed(exitChdir, "changing to the working directory: %w", err)
	}
	return nil
}
