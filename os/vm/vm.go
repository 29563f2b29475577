// Package vm boots a kernel and an initrd in QEMU, or what firmware finds on
// networks and disks, with a software TPM, for tests and for people. QEMU, swtpm
// and firmware come from a tool root; no privileges are needed.
//
// A machine never restarts: where the guest reboots, QEMU ends, and Wait tells
// a reboot from a power-off. Starting another machine with the same Config.Dir
// is the reboot: TPM and firmware variables are kept there.
//
// Processors are emulated (TCG) unless Config.KVM is set, which
// [Config.ProbeKVM] says whether to do.
package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

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

func start(ctx context.Context, c Config) (*Machine, error) {
	c.MemoryMiB = cmp.Or(c.MemoryMiB, 1024)
	c.CPUs = cmp.Or(c.CPUs, 2)
	c.Transcript = cmp.Or(c.Transcript, filepath.Join(c.Dir, "console.log"))
	if c.UEFI {
		if err := c.makeFirmwareVars(); err != nil {
			return nil, err
		}
	}
	if c.Net == UserNet {
		if err := c.copyResolver(); err != nil {
			return nil, err
		}
	}
	if c.Overlay != nil {
		var err error
		if c.Initrd, err = c.extendInitrd(); err != nil {
			return nil, err
		}
	}
	transcript, err := os.Create(c.Transcript)
	if err != nil {
		return nil, err
	}
	m := &Machine{
		console: newConsole(transcript, c.Console),
		closers: []func(){func() { transcript.Close() }},
		done:    make(chan struct{}),
	}
	if c.TPM != NoTPM {
		if m.tpm, err = c.startTPM(ctx); err == nil {
			m.closers = append(m.closers, m.tpm.Close)
		}
	}
	if err == nil {
		err = m.startQEMU(ctx, c)
	}
	if err != nil {
		m.release()
		return nil, err
	}
	return m, nil
}

// startQEMU returns when QEMU answers on its monitor. From then on a goroutine
// waits for it to end.
func (m *Machine) startQEMU(ctx context.Context, c Config) error {
	listener, err := listen(c.Dir, qmpSocket)
	if err != nil {
		return err
	}
	defer listener.Close()
	ctx, m.stop = context.WithCancel(ctx)
	m.closers = append(m.closers, m.stop)
	cmd, err := c.Root.Command(ctx, toolroot.Options{Binds: c.binds(), KVM: c.KVM}, "qemu-system-x86_64", c.args()...)
	if err != nil {
		return err
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // lets QEMU restore the terminal
	cmd.WaitDelay = stopTime
	cmd.Stdout, cmd.Stderr = m.console, m.console
	if c.Stdin != nil {
		cmd.Stdin = c.Stdin
	} else if m.input, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
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
		cause := context.Cause(ctx)
		m.stop()
		if exit := errors.Join(cause, <-exited); exit != nil {
			err = exit // says more than that the connection was closed
		}
		return fmt.Errorf("QEMU: %w\n%s%s", err, m.console.tail(), m.tpmLog())
	}
	go func() {
		m.finish(<-exited, cmd.ProcessState.ExitCode())
	}()
	return nil
}

// finish records how QEMU ended and releases what the machine held.
func (m *Machine) finish(err error, status int) {
	m.end = End{m.monitor.end(), status}
	if err != nil {
		err = fmt.Errorf("the machine ended: QEMU: %w%s", err, m.tpmLog())
	} else {
		err = fmt.Errorf("the machine ended: %s", cmp.Or(m.end.Reason, "QEMU gave no reason"))
	}
	m.release()
	m.console.end(err)
	close(m.done)
}

func (m *Machine) release() {
	for _, f := range m.closers {
		f()
	}
}

// tpmLog is what the TPM has to say about a failure, for the end of its message.
func (m *Machine) tpmLog() string {
	if m.tpm == nil {
		return ""
	}
	if log := m.tpm.Log(); log != "" {
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
