package watchdog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// device notes when it was fed with what.
type device struct {
	start time.Time
	at    []time.Duration
	food  []byte
	err   error
}

func (d *device) Write(p []byte) (int, error) {
	d.at = append(d.at, time.Since(d.start))
	d.food = append(d.food, p...)
	return len(p), d.err
}

func (d *device) Close() error { return d.err }

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &device{start: time.Now()}
		w := &Watchdog{Timeout: 30 * time.Second, device: d}
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
		if want := []time.Duration{0, 10 * time.Second, 20 * time.Second, 30 * time.Second}; !reflect.DeepEqual(d.at, want) {
			t.Errorf("fed at %v, want %v", d.at, want)
		}
		if err := w.Disarm(); err != nil {
			t.Error(err)
		}
		if want := []byte{0, 0, 0, 0, 'V'}; !reflect.DeepEqual(d.food, want) {
			t.Errorf("fed %q, want %q", d.food, want)
		}
		d.err = errors.New("broken")
		if err := w.Run(t.Context()); !errors.Is(err, d.err) {
			t.Errorf("feeding a broken watchdog: %v", err)
		}
		if err := w.Disarm(); !errors.Is(err, d.err) {
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
