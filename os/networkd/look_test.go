package networkd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestHalfWatched has no file descriptor left for watching the addresses, while links
// change all the time. Whoever watches them ends.
func TestHalfWatched(t *testing.T) {
	if !inside(t) {
		return
	}
	l := newLab(t)
	l.cable("eth0", "")
	link := l.link("eth0")
	changes, err := netlink.NewHandle(unix.NETLINK_ROUTE) // whose socket stays open
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				changes.LinkSetUp(link)
				changes.LinkSetDown(link)
			}
		}
	}()
	free, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	one := unix.Rlimit{Cur: uint64(free.Fd()) + 1, Max: old.Max}
	free.Close()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &one); err != nil {
		t.Fatal(err)
	}
	d := &daemon{look: make(chan struct{}, 1)}
	for range 100 {
		if err := d.watchLinks(context.Background()); err == nil {
			t.Error("the addresses are watched")
		}
		time.Sleep(time.Millisecond) // the one descriptor is closed later
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Error(err)
	}
	close(stop)
	<-stopped
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var stacks bytes.Buffer
		pprof.Lookup("goroutine").WriteTo(&stacks, 2)
		if !bytes.Contains(stacks.Bytes(), []byte("linkSubscribe")) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("some go on:\n%s", stacks.Bytes())
		}
	}
}

// TestUnread has the links change while they are read, which nobody is told.
func TestUnread(t *testing.T) {
	d := &daemon{look: make(chan struct{}, 1)}
	d.Log = logline.New(writer(func(line string) {
		if !strings.HasPrefix(line, "<7>") {
			t.Errorf("told %s", line)
		}
	}), slog.LevelDebug)
	d.unread(fmt.Errorf("reading: %w", netlink.ErrDumpInterrupted))
	select {
	case <-d.look:
	default:
		t.Error("they are not read again at once")
	}
}
