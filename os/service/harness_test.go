package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cgroup"
	"github.com/ember-os/ember/os/cgroup/cgrouptest"
	"github.com/ember-os/ember/os/executor"
	"github.com/ember-os/ember/os/nstest"
	"github.com/ember-os/ember/os/reaper"
	"github.com/ember-os/ember/os/unit"
)

// patience is for what should happen soon, on a machine that has a lot to do.
const patience = 30 * time.Second

// TestMain is also the executor, and the services, whose arguments say what they do.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case "ember":
		syscall.Exit(executor.Main(os.Args[2:]))
	case "service":
		behave(os.Args[1:])
	}
	os.Exit(m.Run())
}

// behave does one thing after the other, and then sleeps for ever.
func behave(words []string) {
	for _, word := range words {
		verb, arg, _ := strings.Cut(word, ":")
		switch verb {
		case "exit":
			code, _ := strconv.Atoi(arg)
			syscall.Exit(code) // without what os.Exit does for -race and -cover
		case "ignore":
			signal.Ignore(syscall.SIGTERM)
		case "abort":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "user": // is root no more
			if err := errors.Join(syscall.Setgid(nstest.User), syscall.Setuid(nstest.User)); err != nil {
				panic(err)
			}
		case "notify":
			notify(strings.ReplaceAll(arg, "|", "\n"))
		case "pid": // the same, with its own PID at the end
			notify(strings.ReplaceAll(arg, "|", "\n") + strconv.Itoa(os.Getpid()))
		case "log": // FILE:TEXT with $NAME for variables
			file, text, _ := strings.Cut(arg, ":")
			appendTo(file, os.ExpandEnv(text))
		case "logstop", "linger": // the same on SIGTERM, or a moment after it
			c := make(chan os.Signal, 1)
			signal.Notify(c, syscall.SIGTERM)
			go func() {
				<-c
				if verb == "linger" {
					time.Sleep(50 * time.Millisecond)
				}
				file, text, _ := strings.Cut(arg, ":")
				appendTo(file, text)
				syscall.Exit(0)
			}()
		case "fork": // BEHAVIOUR of a child, in words with |; with a session of its own for "escape"
			start(strings.Split(arg, "|"), false)
		case "escape":
			start(strings.Split(arg, "|"), true)
		case "print":
			os.Stdout.WriteString(arg + "\n")
			os.Stderr.WriteString("error: " + arg + "\n")
		case "once": // exits with a failure, unless the file shows that it has done so
			if _, err := os.Stat(arg); err != nil {
				appendTo(arg, "")
				syscall.Exit(1)
			}
		case "wait": // for a file
			for {
				if _, err := os.Stat(arg); err == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
		default:
			panic(word)
		}
	}
	for {
		syscall.Pause()
	}
}

func start(words []string, setsid bool) {
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: setsid}}
	if _, err := syscall.ForkExec("/proc/self/exe", append([]string{"service"}, words...), attr); err != nil {
		panic(err)
	}
}

func notify(text string) {
	c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err == nil {
		_, err = c.Write([]byte(text))
	}
	if err != nil {
		panic(err)
	}
}

func appendTo(file, line string) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(line + "\n")
	}
	if err != nil {
		panic(err)
	}
}

// harness is a manager and what it needs, in a PID namespace whose PID 1 the test is.
type harness struct {
	*Manager
	t    *testing.T
	dir  string
	logs *syncBuffer
	out  *os.File // what services print

	mu    sync.Mutex
	ready []string // what OnReady was told
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// inBoth runs a test in a PID namespace, without cgroups and with them, where they
// are to be had. It fails if anything is left running after the test.
func inBoth(t *testing.T, test func(*testing.T, *harness)) {
	if !nstest.Inside(t, syscall.CLONE_NEWPID) {
		return
	}
	t.Run("sessions", func(t *testing.T) { test(t, newHarness(t, Options{})) })
	t.Run("cgroups", func(t *testing.T) {
		tree, err := cgroup.Open(cgrouptest.Dir(t))
		if err != nil {
			t.Fatal(err)
		}
		test(t, newHarness(t, Options{Cgroups: tree}))
	})
}

func newHarness(t *testing.T, o Options) *harness {
	dir, err := os.MkdirTemp("/tmp", "ember-") // not t.TempDir: paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // as /run/ember is
		t.Fatal(err)
	}
	h := &harness{t: t, dir: dir, logs: &syncBuffer{}}
	if h.out, err = os.Create(filepath.Join(dir, "output")); err != nil {
		t.Fatal(err)
	}
	var goroutines sync.WaitGroup
	o.Spawn = func(f func()) { goroutines.Go(f) }
	o.Reaper = reaper.New()
	ctx, cancel := context.WithCancel(context.Background())
	var reaping sync.WaitGroup
	reaping.Go(func() { o.Reaper.Run(ctx) })
	o.Log = slog.New(slog.NewTextHandler(h.logs, nil))
	o.Dir = dir
	o.Environ = []string{"PATH=/bin"}
	if o.Output == nil {
		o.Output = func(string, unit.Output) (*os.File, error) {
			return os.OpenFile(h.out.Name(), os.O_WRONLY|os.O_APPEND, 0)
		}
	}
	o.OnReady = func(name, status string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ready = append(h.ready, name+" "+status)
	}
	if o.BackOffMax == 0 {
		o.BackOffMax = 4 * time.Millisecond
	}
	o.Grace = time.Second
	h.Manager = New(o)
	t.Cleanup(func() {
		h.stop(patience)
		h.alone()
		cancel()
		reaping.Wait()
		goroutines.Wait()
		if left, err := os.ReadDir(h.notifyDir()); err != nil || len(left) > 0 {
			t.Errorf("sockets are left: %v, %v", left, err)
		}
		if o.Cgroups != nil {
			g, err := o.Cgroups.Make(slice)
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Rmdir(g.Dir); err != nil {
				t.Errorf("cgroups are left: %v", err)
			}
		}
		h.out.Close()
		os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("log:\n%s", h.logs)
		}
	})
	return h
}

// stop stops the manager unless the test has done so.
func (h *harness) stop(limit time.Duration) {
	h.Manager.mu.Lock()
	stopped := h.stopping
	h.Manager.mu.Unlock()
	if stopped {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := h.Stop(ctx); err != nil {
		h.t.Error(err)
	}
}

// alone fails the test if any process is left.
func (h *harness) alone() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.o.Reaper.WaitAll(ctx); err != nil {
		h.t.Error("processes are left running")
		syscall.Kill(-1, syscall.SIGKILL)
	}
}

// simple is a service that behaves so.
func simple(name string, words ...string) unit.Unit {
	return unit.Unit{Name: name, Service: &unit.Service{
		Type: unit.Simple, ExecStart: []unit.Command{command(words...)}, StopTimeout: patience, Restart: "no",
	}}
}

func command(words ...string) unit.Command {
	return unit.Command{Path: "/proc/self/exe", Args: append([]string{"service"}, words...)}
}

// with changes a unit.
func with(u unit.Unit, change func(*unit.Unit)) unit.Unit {
	change(&u)
	return u
}

// start starts all units.
func (h *harness) start(units ...unit.Unit) {
	h.t.Helper()
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	if err := h.Start(units, names...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) status(name string) Status {
	for _, s := range h.Statuses() {
		if s.Name == name {
			return s
		}
	}
	h.t.Fatalf("%s has no status", name)
	return Status{}
}

// settle waits until a unit is active or given up.
func (h *harness) settle(name string, want State) Status {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := h.Wait(ctx, name); err != nil {
		h.t.Fatal(err)
	}
	return h.until(name, want)
}

// until waits until a unit is in a state.
func (h *harness) until(name string, want State) Status {
	h.t.Helper()
	return h.poll(name, func(s Status) bool { return s.State == want })
}

func (h *harness) poll(name string, good func(Status) bool) Status {
	h.t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s := h.status(name)
		if good(s) {
			return s
		}
		if time.Now().After(limit) {
			h.t.Fatalf("%s stays so: %+v", name, s)
		}
	}
}

func (h *harness) path(name string) string { return filepath.Join(h.dir, name) }

// read waits until a file in the directory has so many lines.
func (h *harness) read(name string, lines int) string {
	h.t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile(h.path(name))
		if bytes.Count(text, []byte("\n")) >= lines {
			return string(text)
		}
		if time.Now().After(limit) {
			h.t.Fatalf("%s has only %q", name, text)
		}
	}
}
