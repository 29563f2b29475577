package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/kexec"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/power"
	"github.com/ember-os/ember/os/status"
)

// nextReason begins the reason of a reboot by BootNext: the boot after it knows by this that the firmware has not
// done it.
const nextReason = "to last-known-good: "

func (n *node) leave(ctx context.Context, verb machine.Verb, why string) error {
	switch verb {
	case machine.Next:
		if err := n.next(ctx); err != nil {
			return err
		}
		return reboot(nextReason + why)
	case machine.Kexec:
		if err := n.kexec(ctx); err != nil {
			return err
		}
		return syscall.Kill(1, power.KexecSignal)
	}
	if verb == machine.Return {
		return reboot("back to the network: " + why)
	}
	return reboot("boot failed: " + why)
}

// reboot asks init, in words if it listens.
func reboot(why string) error {
	if notify(power.Message+"="+short(strings.ReplaceAll(why, "\n", " "), maxMessage)) == nil {
		return nil
	}
	return syscall.Kill(1, syscall.SIGTERM)
}

// next has the firmware boot the good slot.
func (n *node) next(ctx context.Context) error {
	reason, err := status.LastReason(n.root)
	n.warn("it is not known how the last boot ended", err)
	if strings.Contains(reason, nextReason) {
		return errors.New("the firmware has ignored BootNext, or could not boot last-known-good")
	}
	d, err := n.open()
	if err != nil {
		return err
	}
	defer n.close(d)
	good, err := d.good(ctx)
	if err != nil {
		return err
	}
	if err := n.entries(d, good); err != nil {
		return err
	}
	return n.vars.Next(titles[good])
}

// kexec has the kernel start the good slot when the machine stops.
func (n *node) kexec(ctx context.Context) error {
	d, err := n.open()
	if err != nil {
		return err
	}
	defer n.close(d)
	good, err := d.good(ctx)
	if err != nil {
		return err
	}
	f, err := d.files.Open(d.System(good))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	image := make([]byte, size)
	if _, err := f.ReadAt(image, 0); err != nil && err != io.EOF {
		return fmt.Errorf("reading %s: %w", d.System(good), err)
	}
	return kexec.Load(image, cmdline.LKGParam+"="+string(cmdline.LKGDisk))
}

// good is the good slot. The error says why there is none.
func (d *disk) good(ctx context.Context) (state.Slot, error) {
	s, err := d.Good(ctx)
	if s != state.None {
		return s, nil
	}
	if err == nil {
		err = errors.New("nothing was kept yet")
	}
	return s, fmt.Errorf("there is no last-known-good: %w", err)
}
