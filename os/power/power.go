// Package power is how a machine is asked to stop, and how it stops in order.
package power

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ember-os/ember/os/reaper"
	"golang.org/x/sys/unix"
)

// Action is a way to stop.
type Action int

// The ways to stop.
const (
	Reboot Action = iota
	PowerOff
	Halt  // stop the processors and leave the power on
	Kexec // start the kernel that package kexec has loaded
)

func (a Action) String() string {
	return [...]string{"reboot", "poweroff", "halt", "kexec"}[a]
}

var commands = [...]int{
	Reboot:   unix.LINUX_REBOOT_CMD_RESTART,
	PowerOff: unix.LINUX_REBOOT_CMD_POWER_OFF,
	Halt:     unix.LINUX_REBOOT_CMD_HALT,
	Kexec:    unix.LINUX_REBOOT_CMD_KEXEC,
}

// Now stops the machine without any preparation. It returns only if the kernel
// refuses.
func (a Action) Now() error {
	return fmt.Errorf("asking the kernel to %v: %w", a, unix.Reboot(commands[a]))
}

// Request is the wish that the machine stop.
type Request struct {
	Action Action
	Reason string // for people
}

// Message is what a message of ember-boot.service to init, as of sd_notify(3), calls the reason of a reboot that it
// asks for.
const Message = "X_EMBER_REBOOT"

// KexecSignal asks PID 1 for Kexec: SIGRTMIN+6 of the C library, as systemd has it.
const KexecSignal = syscall.Signal(40)

// requests is what signals to PID 1 mean: SIGINT comes from the kernel, the others
// from busybox's reboot, halt and poweroff, and from people.
var requests = map[os.Signal]Request{
	syscall.SIGINT:  {Reboot, "Ctrl-Alt-Del"},
	syscall.SIGTERM: {Reboot, "SIGTERM"},
	syscall.SIGUSR1: {Halt, "SIGUSR1"},
	syscall.SIGUSR2: {PowerOff, "SIGUSR2"},
	KexecSignal:     {Kexec, "SIGRTMIN+6"},
}

// Signals catches every signal that would otherwise end a Go program, and with it
// PID 1 and the machine.
func Signals() <-chan os.Signal {
	c := make(chan os.Signal, 16)
	for s := syscall.Signal(1); s < 32; s++ {
		// The reaper and the Go runtime have their own use for these two.
		if s != syscall.SIGCHLD && s != syscall.SIGURG {
			signal.Notify(c, s)
		}
	}
	signal.Notify(c, KexecSignal)
	return c
}

// TakeCtrlAltDel has Ctrl-Alt-Del ask init, where it would reset the machine.
func TakeCtrlAltDel() error {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		return fmt.Errorf("taking over Ctrl-Alt-Del: %w", err)
	}
	return nil
}

// Listen turns signals into requests until ctx ends.
func Listen(ctx context.Context, signals <-chan os.Signal, to chan<- Request) {
	for {
		select {
		case s := <-signals:
			if r, ok := requests[s]; ok {
				r.send(ctx, to)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (r Request) send(ctx context.Context, to chan<- Request) {
	select {
	case to <- r:
	case <-ctx.Done():
	}
}

// killTime is how long processes may take to vanish after SIGKILL, which they do at
// once unless a driver holds them.
const killTime = 5 * time.Second

// Terminate ends all processes but PID 1, which must be the caller: those that
// have not gone by themselves within grace after SIGTERM are killed. The error
// says that this was necessary, or that even it did not help.
func Terminate(ctx context.Context, r *reaper.Reaper, grace time.Duration) error {
	if os.Getpid() != 1 {
		return errors.New("ending all processes: only PID 1 may do that")
	}
	if signalAll(ctx, r, grace, syscall.SIGTERM, syscall.SIGCONT) == nil {
		return nil
	}
	if signalAll(ctx, r, killTime, syscall.SIGKILL) == nil {
		return fmt.Errorf("ending all processes: some had to be killed after %v", grace)
	}
	return errors.New("ending all processes: some do not end even when killed")
}

func signalAll(ctx context.Context, r *reaper.Reaper, wait time.Duration, signals ...syscall.Signal) error {
	for _, s := range signals {
		if err := syscall.Kill(-1, s); err != nil && err != syscall.ESRCH {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return r.WaitAll(ctx)
}
