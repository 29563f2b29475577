package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ember-os/ember/os/vm/swtpm"
)

// End tells how a machine ended.
type End struct {
	// Reason is QEMU's: Poweroff, Reboot, or another ShutdownCause of QMP.
	// It is empty where QEMU gave none, as when it crashed.
	Reason string
	Status int // QEMU's exit status
}

// stateTime is what QEMU has to say what a machine is doing.
const stateTime = 10 * time.Second

// What a guest may do to end its machine.
const (
	Poweroff = "guest-shutdown"
	Reboot   = "guest-reset"
)

// Machine is a running virtual machine.
type Machine struct {
	console *console
	monitor *monitor
	input   io.WriteCloser // nil with Config.Stdin
	tpm     *swtpm.TPM     // nil without one
	stop    context.CancelFunc
	closers []func()
	done    chan struct{}
	end     End // once done is closed
}

// WaitLine returns the first console line not seen by an earlier WaitLine that
// matches, stripped of control sequences. If the machine or ctx ends first, all
// output was looked at before, and the error shows the console's last lines and
// what a machine that runs on is doing.
func (m *Machine) WaitLine(ctx context.Context, match func(line string) bool) (string, error) {
	line, err := m.console.wait(ctx, match)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w\n%s", err, m.state())
	}
	return line, err
}

// Send types text into the console.
func (m *Machine) Send(text string) error {
	if m.input == nil {
		return errors.New("typing into the console: its input is Config.Stdin")
	}
	if _, err := io.WriteString(m.input, text); err != nil {
		return fmt.Errorf("typing into the console: %w", err)
	}
	return nil
}

// Powerdown presses the ACPI power button.
func (m *Machine) Powerdown(ctx context.Context) error { return m.monitor.powerdown(ctx) }

// CtrlAltDel presses Ctrl-Alt-Del on the keyboard.
func (m *Machine) CtrlAltDel(ctx context.Context) error { return m.monitor.ctrlAltDel(ctx) }

// SetLink plugs the cable of Config.NICs[nic] in, or pulls it.
func (m *Machine) SetLink(ctx context.Context, nic int, up bool) error {
	return m.monitor.setLink(ctx, nicName(nic), up)
}

// Wait waits for the machine to end. If ctx ends first, the error shows the
// console's last lines and what the machine is doing, and it runs on.
func (m *Machine) Wait(ctx context.Context) (End, error) {
	select {
	case <-m.done:
		return m.end, nil
	case <-ctx.Done():
		return End{}, fmt.Errorf("waiting for the machine to end: %w\n%s\n%s", context.Cause(ctx), m.console.tail(), m.state())
	}
}

// state is what a machine that does not do what is waited for is doing: it tells a system that hangs from a QEMU that does.
func (m *Machine) state() string {
	ctx, cancel := context.WithTimeout(context.Background(), stateTime)
	defer cancel()
	processors, err := m.monitor.processors(ctx)
	if err != nil {
		processors = err.Error()
	}
	return "Its processors: " + processors + m.tpmLog()
}

// Close ends the machine if it has not ended, and lets go of all it used.
func (m *Machine) Close() {
	m.stop()
	<-m.done
}
