// Package reaper waits for every child of the process, as PID 1 must: for those
// it started, whose exit statuses it hands to their owners, and for orphans, which
// the kernel gives to PID 1 and which nobody else would ever reap.
//
// A process has one owner of wait(2). Programs that use this package must start
// children through Start only, never through os/exec, whose own waiting would
// race with Run's.
package reaper

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Reaper owns wait(2). The zero value is not usable; see New.
type Reaper struct {
	// mu makes starting a child and knowing it one step, and also reaping and
	// forgetting one, so that no status is lost and no recycled PID is signalled.
	mu      sync.Mutex
	started map[int]*Process
	alone   chan struct{} // closed while there are no children
	sigchld chan os.Signal
}

// New starts to listen for SIGCHLD; Run must follow.
func New() *Reaper {
	r := &Reaper{started: map[int]*Process{}, alone: make(chan struct{}), sigchld: make(chan os.Signal, 1)}
	signal.Notify(r.sigchld, syscall.SIGCHLD)
	return r
}

// Run reaps until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	defer signal.Stop(r.sigchld)
	for {
		for r.reap() {
		}
		select {
		case <-r.sigchld:
		case <-ctx.Done():
			return
		}
	}
}

// Process is a child that Start started.
type Process struct {
	PID int

	reaper *Reaper
	done   chan struct{}
	status syscall.WaitStatus // valid once done is closed
}

// Start starts a program as syscall.ForkExec does. The caller must not wait for
// it in any other way than through the Process.
func (r *Reaper) Start(path string, argv []string, attr *syscall.ProcAttr) (*Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	p := &Process{PID: pid, reaper: r, done: make(chan struct{})}
	r.started[pid] = p
	r.setAlone(false)
	return p, nil
}

// Done is closed when the process has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and returns how it ended.
func (p *Process) Wait(ctx context.Context) (syscall.WaitStatus, error) {
	select {
	case <-p.done:
		return p.status, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Signal sends a signal to the process unless it has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	p.reaper.mu.Lock()
	defer p.reaper.mu.Unlock()
	if p.reaper.started[p.PID] != p {
		return os.ErrProcessDone
	}
	return syscall.Kill(p.PID, sig)
}

// WaitAll waits until the process has no children left. As PID 1 that means that
// no process but kernel threads is left at all.
func (r *Reaper) WaitAll(ctx context.Context) error {
	r.mu.Lock()
	alone := r.alone
	r.mu.Unlock()
	select {
	case <-alone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reap takes a child that has ended, and tells whether there may be more: one
// SIGCHLD may stand for many.
func (r *Reaper) reap() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if pid <= 0 {
		r.setAlone(err == syscall.ECHILD)
		return err == syscall.EINTR
	}
	if p := r.started[pid]; p != nil {
		delete(r.started, pid)
		p.status = status
		close(p.done)
	}
	return true
}

// setAlone opens or closes the alone channel; mu is held.
func (r *Reaper) setAlone(alone bool) {
	select {
	case <-r.alone:
		if !alone {
			r.alone = make(chan struct{})
		}
	default:
		if alone {
			close(r.alone)
		}
	}
}
