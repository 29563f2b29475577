package reaper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the program that the tests start: it exits as its arguments
// say.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[0] == "child" {
		child(os.Args[1], os.Args[2])
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func child(verb, arg string) {
	switch verb {
	case "exit":
		code, _ := strconv.Atoi(arg)
		os.Exit(code)
	case "sleep":
		select {}
	case "orphan": // leaves a child behind that exits when its standard input ends
		_, err := syscall.ForkExec("/proc/self/exe", []string{"child", "read", ""}, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
		if err != nil {
			panic(err)
		}
		os.Exit(7)
	case "read":
		os.Stdin.Read(make([]byte, 1))
		os.Exit(9)
	}
	panic(verb)
}

func run(t *testing.T) *Reaper {
	t.Helper()
	r := New()
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-stopped })
	return r
}

func start(t *testing.T, r *Reaper, stdin uintptr, args ...string) *Process {
	t.Helper()
	p, err := r.Start("/proc/self/exe", append([]string{"child"}, args...), &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{stdin, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStatuses(t *testing.T) {
	r := run(t)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			p := start(t, r, 0, "exit", fmt.Sprint(i))
			status, err := p.Wait(t.Context())
			if err != nil || !status.Exited() || status.ExitStatus() != i {
				t.Errorf("child %d ended with %#x, %v", i, status, err)
			}
			if err := p.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("signalling a process that ended: %v", err)
			}
		})
	}
	wg.Wait()
	if err := r.WaitAll(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSignal(t *testing.T) {
	r := run(t)
	p := start(t, r, 0, "sleep", "")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with an ended context: %v", err)
	}
	if err := r.WaitAll(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitAll with an ended context: %v", err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if status, _ := p.Wait(t.Context()); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %#x", status)
	}
}

func TestOrphan(t *testing.T) {
	r := run(t)
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, r, in.Fd(), "orphan", "")
	if status, err := p.Wait(t.Context()); err != nil || status.ExitStatus() != 7 {
		t.Fatalf("ended with %#x, %v", status, err)
	}
	in.Close()
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid != 0 || err != nil {
		t.Errorf("the orphan was not handed to us: wait4 says %d, %v", pid, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.WaitAll(cancelled); err == nil {
		t.Error("WaitAll does not know of the orphan")
	}
	out.Close()
	if err := r.WaitAll(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStartFails(t *testing.T) {
	r := run(t)
	nothing := filepath.Join(t.TempDir(), "nothing")
	for range 16 {
		if _, err := r.Start(nothing, nil, &syscall.ProcAttr{}); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("starting nothing: %v", err)
		}
	}
}
