package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/ember-os/ember/os/cgroup"
	"github.com/ember-os/ember/os/executor"
	"github.com/ember-os/ember/os/memfile"
	"github.com/ember-os/ember/os/reaper"
	"github.com/ember-os/ember/os/unit"
)

// processes is all processes of a service.
type processes interface {
	// start has start start a process that belongs to the service.
	start(sys *syscall.SysProcAttr, start func() (*reaper.Process, error)) (*reaper.Process, error)
	signal(syscall.Signal) error
	kill() error
	empty() (bool, error)
	has(pid int) bool
	remove() error // what is left of a service without processes
}

// inCgroup is the processes of a cgroup.
type inCgroup struct{ cgroup.Group }

func (c inCgroup) start(sys *syscall.SysProcAttr, start func() (*reaper.Process, error)) (*reaper.Process, error) {
	above := cgroup.Group{Dir: filepath.Dir(c.Dir)}
	if err := errors.Join(above.Thaw(), c.Thaw()); err != nil { // a frozen child would never let us go on
		return nil, err
	}
	dir, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	sys.UseCgroupFD, sys.CgroupFD = true, int(dir.Fd())
	return start()
}

func (c inCgroup) signal(sig syscall.Signal) error { return c.Signal(sig) }
func (c inCgroup) kill() error                     { return c.Kill() }
func (c inCgroup) remove() error                   { return c.Remove() }

func (c inCgroup) empty() (bool, error) {
	populated, err := c.Populated()
	return !populated, err
}

func (c inCgroup) has(pid int) bool {
	pids, _ := c.PIDs()
	return slices.Contains(pids, pid)
}

// inSessions is the process groups of the processes that were started: all that
// did not leave them.
type inSessions struct{ leaders []int }

func (s *inSessions) start(_ *syscall.SysProcAttr, start func() (*reaper.Process, error)) (*reaper.Process, error) {
	s.empty() // forgets those that are gone
	p, err := start()
	if err == nil {
		s.leaders = append(s.leaders, p.PID)
	}
	return p, err
}

func (s *inSessions) signal(sig syscall.Signal) error {
	var errs []error
	for _, pid := range s.leaders {
		if err := syscall.Kill(-pid, sig); err != nil && err != syscall.ESRCH {
			errs = append(errs, fmt.Errorf("signalling process group %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

func (s *inSessions) kill() error   { return s.signal(syscall.SIGKILL) }
func (s *inSessions) remove() error { return nil }

// has says no: who has left is not known either.
func (s *inSessions) has(int) bool { return false }

func (s *inSessions) empty() (bool, error) {
	var left []int
	for _, pid := range s.leaders {
		if syscall.Kill(-pid, 0) != syscall.ESRCH {
			left = append(left, pid)
		}
	}
	s.leaders = left
	return left == nil, nil
}

// processesOf makes the place for a service's processes.
func (m *Manager) processesOf(name string, sv *unit.Service) (p processes, dir string, err error) {
	if m.o.Cgroups == nil {
		return &inSessions{}, "", nil
	}
	g, err := m.o.Cgroups.Make(filepath.Join(slice, name))
	if err != nil {
		return nil, "", err
	}
	if sv.TasksMax != "" {
		if err := g.Set("pids.max", sv.TasksMax); err != nil {
			m.o.Log.Warn(name+" runs without TasksMax", "err", err)
		}
	}
	return inCgroup{g}, g.Dir, nil
}

// exec starts a command of the service, through the executor.
func (a *activation) exec(c unit.Command, environ []string) (*reaper.Process, error) {
	text, err := json.Marshal(executor.Spec{Unit: a.unit.Name, Command: c, Environ: environ, Service: *a.sv})
	if err != nil {
		return nil, fmt.Errorf("describing a process: %w", err)
	}
	spec, err := memfile.New("ember-spec", bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return nil, err
	}
	defer spec.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	out := null
	if o := a.output(); o != nil {
		defer o.Close()
		out = o
	}
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Files: []uintptr{null.Fd(), out.Fd(), out.Fd(), spec.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	return a.processes.start(attr.Sys, func() (*reaper.Process, error) {
		return a.m.o.Reaper.Start(a.m.o.Executable, []string{"ember", "exec"}, attr)
	})
}

// output is nil for /dev/null. A service whose output nobody takes runs without.
func (a *activation) output() *os.File {
	if a.m.o.Output == nil || a.sv.Output == unit.Null {
		return nil
	}
	f, err := a.m.o.Output(a.unit.Name, a.sv.Output)
	if err != nil && !a.m.outputFailed.Swap(true) {
		a.m.o.Log.Warn("the output of services is lost", "err", err)
	}
	return f
}
