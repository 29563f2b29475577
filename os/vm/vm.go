// Package vm boots a kernel and an initrd in QEMU, with a software TPM, for
// tests and for people. QEMU, swtpm and firmware come from a tool root; no
// privileges are needed.
//
// A machine never restarts: where the guest reboots, QEMU ends, and Wait tells
// a reboot from a power-off. Starting another machine with the same Config.Dir
// is the reboot: TPM and firmware variables are kept there.
//
// Processors are emulated (TCG) unless Config.KVM is set, which
// [Config.ProbeKVM] says whether to do.
package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ember-os/ember/os/vm/swtpm"
	"github.com/ember-os/ember/tools/toolroot"
)

// stopTime is what QEMU has to end in order before it is killed.
const stopTime = 3 * time.Second

// Start starts a machine, which runs until it ends itself, ctx ends, or Close.
// An error shows what QEMU or swtpm said.
func Start(ctx context.Context, c Config) (*Machine, error) {
	m, err := start(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("starting a virtual machine: %w", err)
	}
	return m, nil
}

func start(ctx context.Context, c Config) (_ *Machine, err error) {
	if c.MemoryMiB == 0 {
		c.MemoryMiB = 1024
	}
	if c.CPUs == 0 {
		c.CPUs = 2
	}
	if c.Transcript == "" {
		c.Transcript = filepath.Join(c.Dir, "console.log")
	}
	ctx, stop := context.WithCancel(ctx)
	var undo []func()
	defer func() {
		if err != nil {
			stop()
			for _, f := range undo {
				f()
			}
		}
	}()

	if c.UEFI {
		if err := c.makeFirmwareVars(); err != nil {
			return nil, err
		}
	}
	var tpm *swtpm.TPM
	if c.TPM != NoTPM {
		if tpm, err = c.startTPM(ctx); err != nil {
			return nil, err
		}
		undo = append(undo, tpm.Close)
	}
	transcript, err := os.Create(c.Transcript)
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() { transcript.Close() })
	listener, err := listen(c.Dir, qmpSocket)
	if err != nil {
		return nil, err
	}
	defer listener.Close()

	cmd, err := c.Root.Command(ctx, toolroot.Options{Binds: c.binds(), KVM: c.KVM}, "qemu-system-x86_64", c.args()...)
	if err != nil {
		return nil, err
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // lets QEMU restore the terminal
	cmd.WaitDelay = stopTime
	m := &Machine{stop: stop, done: make(chan struct{})}
	copies := []io.Writer{transcript}
	if c.Console != nil {
		copies = append(copies, c.Console)
	}
	m.console = newConsole(copies...)
	cmd.Stdout, cmd.Stderr = m.console, m.console
	if c.Stdin != nil {
		cmd.Stdin = c.Stdin
	} else if m.input, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}

	exited := make(chan error, 1)
	go func() {
		exited <- cmd.Wait()
		listener.Close() // ends Accept if QEMU never came so far
	}()
	conn, err := listener.Accept()
	if err == nil {
		m.monitor = newMonitor(conn)
		err = m.monitor.execute(ctx, "qmp_capabilities", nil)
	}
	if err != nil {
		canceled := context.Cause(ctx)
		stop()
		return nil, fmt.Errorf("QEMU: %w\n%s%s", errors.Join(canceled, <-exited), m.console.tail(), tpmLog(tpm))
	}
	go func() {
		err := <-exited
		m.end = End{m.monitor.end(), cmd.ProcessState.ExitCode()}
		reason := fmt.Errorf("the machine ended: %s", m.end.Reason)
		if err != nil {
			reason = fmt.Errorf("the machine ended: QEMU: %w%s", err, tpmLog(tpm))
		}
		if tpm != nil {
			tpm.Close()
		}
		transcript.Close()
		m.console.end(reason)
		stop()
		close(m.done)
	}()
	return m, nil
}

// tpmLog is what the TPM has to say about a failure, for the end of its message.
func tpmLog(tpm *swtpm.TPM) string {
	if tpm == nil {
		return ""
	}
	if log := tpm.Log(); log != "" {
		return "\nThe log of swtpm:\n" + log
	}
	return ""
}

// listen makes the socket dir/name. It goes through the directory's
// descriptor, so that dir may be longer than a socket's path.
func listen(dir, name string) (net.Listener, error) {
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name)})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}
