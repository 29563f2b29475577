package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	s := &Shell{Path: "/proc/self/exe", Reaper: r}
	go func() {
		defer close(stopped)
		if err := s.Run(ctx, path); err != nil {
			t.Error(err)
		}
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
	s := &Shell{Path: filepath.Join(t.TempDir(), "nothing"), Reaper: reaper.New()}
	if err := s.Run(t.Context(), path); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("without a program: %v", err)
	}
	if err := s.Run(t.Context(), path+"0"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a terminal: %v", err)
	}
}
