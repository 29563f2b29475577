package logd

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/nstest"
	"golang.org/x/sys/unix"
)

// logged is a log that can be waited for.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) wait(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		got := l.text.String()
		l.mu.Unlock()
		if strings.Contains(got, want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%q is never logged, but %q", want, got)
		}
	}
}

// TestFewFiles may open first no file, then one, and then as many as it likes.
func TestFewFiles(t *testing.T) {
	if !nstest.Inside(t, 0) { // the limit is the process's
		return
	}
	m := newMachine(t)
	log := new(logged)
	m.log = logline.New(log, slog.LevelInfo)
	stop := m.start(t)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	free, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(free)
	restrict := func(files int) {
		t.Helper()
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(files), Max: before.Max}); err != nil {
			t.Fatal(err)
		}
	}
	restrict(free)
	for _, name := range []string{"a.service", "b.service"} {
		if err := unix.Mkfifo(filepath.Join(m.output, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log.wait(t, "too many open files")
	restrict(free + 1)
	log.wait(t, "b.service: too many open files")
	restrict(int(before.Cur))
	b, err := os.OpenFile(filepath.Join(m.output, "b.service"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	fmt.Fprintln(b, "late")
	m.waitStored(t, "b.service", "<6>late\n")
	stop()
}

// TestWithoutUnits has no directory for the units' output. The kernel could be followed.
func TestWithoutUnits(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	if err := os.WriteFile(m.output, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.run(t.Context()) }()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "the directory of the units' output") {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(limit):
		t.Fatal("it goes on without any unit")
	}
}
