package shell

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ember-os/ember/os/nstest"
	"github.com/ember-os/ember/os/reaper"
)

// TestMain is also the shell of the tests: it says what it was asked, until it is
// asked to exit.
func TestMain(m *testing.M) {
	if os.Args[0] == "-sh" {
		fmt.Printf("pid %d HOME=%s\n", os.Getpid(), os.Getenv("HOME"))
		for in := bufio.NewScanner(os.Stdin); in.Scan() && in.Text() != "exit"; {
			fmt.Println("you said", in.Text())
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// await reads lines up to one that begins with want.
func await(t *testing.T, r *bufio.Reader, want string) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if strings.HasPrefix(line, want) {
			return line
		}
	}
}

func TestRun(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	master, path := nstest.Terminal(t)
	out := bufio.NewReader(master)
	r := reaper.New()
	go r.Run(t.Context())
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	s := &Shell{Path: "/proc/self/exe", Reaper: r, Log: slog.New(slog.DiscardHandler)}
	go func() {
		defer close(stopped)
		s.Run(ctx, path)
	}()
	await(t, out, "Ember: a root shell on "+path)
	first := await(t, out, "pid ")
	if !strings.HasSuffix(first, " HOME=/root\r\n") {
		t.Errorf("the shell says %q", first)
	}
	fmt.Fprintln(master, "hello")
	await(t, out, "you said hello")
	fmt.Fprintln(master, "exit")
	if second := await(t, out, "pid "); second == first {
		t.Errorf("the same shell again: %q", second)
	}
	stop()
	<-stopped
	if err := r.WaitAll(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNoShell(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	_, path := nstest.Terminal(t)
	var log bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	s := &Shell{Path: "/nonexistent", Reaper: reaper.New(), Log: slog.New(slog.NewTextHandler(writer(func(p []byte) {
		log.Write(p)
		stop()
	}), nil))}
	s.Run(ctx, path)
	if !strings.Contains(log.String(), "starting /nonexistent: no such file or directory") {
		t.Errorf("logged %q", log.String())
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
