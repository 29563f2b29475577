package console

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// printed is what a console that is not open yet was told.
func (c *Console) printed() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(slices.Concat(c.early...))
}

// waitPrinted waits until the console was told something.
func (c *Console) waitPrinted(t *testing.T, want string) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !strings.Contains(c.printed(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("it never says %q but\n%s", want, c.printed())
		}
	}
}

func startRelay(t *testing.T) (*Console, *os.File, func() error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "console")
	ctx, cancel := context.WithCancel(t.Context())
	var c Console
	ended := make(chan error, 1)
	go func() { ended <- c.Relay(ctx, path) }()
	stop := func() error { cancel(); return <-ended }
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		w, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			t.Cleanup(func() { w.Close() })
			return &c, w, stop
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

func TestRelay(t *testing.T) {
	c, w, stop := startRelay(t)
	fmt.Fprint(w, "network: eth0 is up\nhalf")
	fmt.Fprint(w, " a line\n\x1b[2Jred\r\tü\xff\u202e\n"+strings.Repeat("x", 2*relayLine)+"\n\nend\n")
	c.waitPrinted(t, "end\n")
	want := "ember: network: eth0 is up\nember: half a line\nember: ?[2Jred??ü??\nember: " + strings.Repeat("x", relayLine) + "\nember: \nember: end\n"
	if got := c.printed(); got != want {
		t.Errorf("printed\n%q, want\n%q", got, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRelayRate(t *testing.T) {
	var c Console
	r := relay{to: &c}
	start := time.Now()
	for range relayRate + 12 {
		r.turn(start)
		r.take([]byte("mad\n"), start)
	}
	r.turn(start.Add(relaySpan - 1))
	if got := strings.Count(c.printed(), "\n"); got != relayRate {
		t.Errorf("%d lines printed", got)
	}
	r.turn(start.Add(relaySpan))
	r.take([]byte("calm\n"), start.Add(relaySpan))
	r.turn(start.Add(2 * relaySpan))
	if _, got, _ := strings.Cut(c.printed(), "ember: 12"); got != " lines left out\nember: calm\n" {
		t.Errorf("and then %q", got)
	}
}

// TestRelayRateTells waits for the count although nothing is written any more.
func TestRelayRateTells(t *testing.T) {
	c, w, stop := startRelay(t)
	for range 4 {
		fmt.Fprint(w, strings.Repeat("mad\n", relayRate))
	}
	c.waitPrinted(t, " lines left out\n")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRelayRefuses(t *testing.T) {
	var c Console
	if err := c.Relay(t.Context(), filepath.Join(t.TempDir(), "absent", "console")); err == nil {
		t.Error("a FIFO is made in a directory that is not there")
	}
}

func FuzzRelay(f *testing.F) {
	f.Add([]byte("a line\n\x1b[31mred\r\n"), []byte("\xc3\x28\n"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var c Console
		r := relay{to: &c}
		r.take(first, time.Time{})
		r.take(second, time.Time{})
		for line := range strings.Lines(c.printed()) {
			body, whole := strings.CutSuffix(line, "\n")
			if !whole || !strings.HasPrefix(body, relayStart) || len(body) > len(relayStart)+relayLine {
				t.Errorf("printed %q", line)
			}
			if strings.ContainsFunc(body, func(c rune) bool { return unicode.IsControl(c) }) {
				t.Errorf("control characters in %q", line)
			}
		}
	})
}
