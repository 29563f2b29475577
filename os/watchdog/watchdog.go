// Package watchdog keeps a hardware watchdog from resetting the machine for as
// long as init lives, see Documentation/watchdog/watchdog-api.rst in Linux.
//
// The watchdog stays armed while the machine is being stopped: if that hangs, it
// resets the machine.
package watchdog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watchdog is an armed watchdog.
type Watchdog struct {
	Identity string        // as its driver calls it
	Timeout  time.Duration // without food for so long, it resets the machine

	device io.WriteCloser
}

// Arm starts the watchdog, with the timeout that is asked for, in whole seconds,
// if its driver can do that, and its own if not. Without a watchdog the error is
// an os.ErrNotExist.
func Arm(path string, timeout time.Duration) (*Watchdog, error) {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("arming the watchdog: %w", err)
	}
	w := &Watchdog{device: file}
	fd := int(file.Fd())
	info, err := unix.IoctlGetWatchdogInfo(fd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("identifying the watchdog: %w", err), w.Disarm())
	}
	identity, _, _ := bytes.Cut(info.Identity[:], []byte{0})
	w.Identity = string(identity)
	// The driver rounds the timeout or refuses it; what counts is what it says then.
	_ = unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, int(timeout/time.Second))
	seconds, err := unix.IoctlGetInt(fd, unix.WDIOC_GETTIMEOUT)
	if err == nil && seconds <= 0 {
		err = fmt.Errorf("it says %d seconds", seconds)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("asking the watchdog for its timeout: %w", err), w.Disarm())
	}
	w.Timeout = time.Duration(seconds) * time.Second
	return w, nil
}

// Run feeds the watchdog three times per timeout until ctx ends, or feeding fails.
func (w *Watchdog) Run(ctx context.Context) error {
	tick := time.NewTicker(w.Timeout / 3)
	defer tick.Stop()
	for {
		if _, err := w.device.Write([]byte{0}); err != nil {
			return fmt.Errorf("feeding the watchdog: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Disarm stops the watchdog, if its driver allows that.
func (w *Watchdog) Disarm() error {
	_, err := w.device.Write([]byte{'V'})
	if err := errors.Join(err, w.device.Close()); err != nil {
		return fmt.Errorf("disarming the watchdog: %w", err)
	}
	return nil
}
