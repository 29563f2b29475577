package watchdog

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// device notes when it was fed with what, and refuses some of it.
type device struct {
	start time.Time
	at    []time.Duration
	food  []byte
	fail  map[int]error // by how often it was fed before
}

func (d *device) Write(p []byte) (int, error) {
	err := d.fail[len(d.at)]
	d.at = append(d.at, time.Since(d.start))
	d.food = append(d.food, p...)
	return len(p), err
}

func (d *device) Close() error { return nil }

// TestRun has a driver that refuses two feedings.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		d := &device{start: time.Now(), fail: map[int]error{1: broken, 2: broken, 6: broken}}
		w := &Watchdog{Timeout: 30 * time.Second, Device: d}
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		var log bytes.Buffer
		w.Run(ctx, slog.New(slog.NewTextHandler(&log, nil)))
		if want := []time.Duration{0, 10 * time.Second, 20 * time.Second, 30 * time.Second, 35 * time.Second}; !slices.Equal(d.at, want) {
			t.Errorf("fed at %v, want %v", d.at, want)
		}
		first, rest, _ := strings.Cut(log.String(), "\n")
		if !strings.Contains(first, "level=WARN") || !strings.Contains(first, "feeding the watchdog: broken") ||
			!strings.Contains(rest, "level=INFO") || strings.Count(rest, "\n") != 1 {
			t.Errorf("it says\n%s", log.String())
		}
		if err := w.Disarm(); err != nil {
			t.Error(err)
		}
		if want := []byte{0, 0, 0, 0, 0, 'V'}; !slices.Equal(d.food, want) {
			t.Errorf("fed %q, want %q", d.food, want)
		}
		if err := w.Disarm(); !errors.Is(err, broken) {
			t.Errorf("disarming a broken watchdog: %v", err)
		}
	})
}

func TestArm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watchdog")
	if _, err := Arm(path, time.Minute); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("arming nothing: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Arm(path, time.Minute); err == nil {
		t.Error("a plain file was armed")
	}
}
