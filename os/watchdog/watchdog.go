// Package watchdog keeps a hardware watchdog from resetting the machine for as
// long as init lives, see Documentation/watchdog/watchdog-api.rst in Linux.
//
// Once Run has ended, nothing feeds it any more: who stops the machine ends Run
// before the kernel does the rest, and if that hangs, the watchdog resets the
// machine. Not so if its driver stops it in reboot(2), as most do unless the kernel's
// command line has watchdog.stop_on_reboot=0.
package watchdog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watchdog is an armed watchdog.
type Watchdog struct {
	Identity string        // as its driver calls it
	Timeout  time.Duration // without food for so long, it resets the machine

	Device io.WriteCloser // takes the food
}

// Arm starts the watchdog, with the timeout that is asked for, in whole seconds,
// if its driver can do that, and its own if not. Without a watchdog the error is
// an os.ErrNotExist.
func Arm(path string, timeout time.Duration) (*Watchdog, error) {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("arming the watchdog: %w", err)
	}
	w := &Watchdog{Device: file}
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

// Run feeds the watchdog three times per timeout until ctx ends, and once more then,
// so that what comes next has the whole timeout. It goes on after a failure, such as
// that of a BMC that is busy, and tells log of it once, and when feeding works again.
func (w *Watchdog) Run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(w.Timeout / 3)
	defer tick.Stop()
	for failing := false; ; {
		ended := ctx.Err() != nil
		_, err := w.Device.Write([]byte{0})
		switch {
		case err != nil && !failing:
			log.Warn("the watchdog resets the machine unless feeding it works again", "err", fmt.Errorf("feeding the watchdog: %w", err))
		case err == nil && failing:
			log.Info("feeding the watchdog works again")
		}
		failing = err != nil
		if ended {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Disarm stops the watchdog, if its driver allows that. Run must have ended: food
// would undo it.
func (w *Watchdog) Disarm() error {
	_, err := w.Device.Write([]byte{'V'})
	if err := errors.Join(err, w.Device.Close()); err != nil {
		return fmt.Errorf("disarming the watchdog: %w", err)
	}
	return nil
}
