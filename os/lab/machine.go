package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
)

// switchOn starts the machine. Its firmware tries the network first, then the disk.
func (r *rack) switchOn(ctx context.Context, why string) error {
	if r.config.NICs == nil {
		card, err := r.network.Port(lanName)
		if err != nil {
			return err
		}
		card.MAC, card.Boot = mac, vm.HTTPBoot
		r.config.NICs = []vm.NIC{card}
	}
	r.console.mark(why)
	m, err := vm.Start(ctx, r.config)
	if err != nil {
		return err
	}
	r.machine, r.off = m, make(chan struct{})
	go func(off chan struct{}) {
		m.Wait(context.WithoutCancel(ctx)) // how it has ended is asked later
		close(off)
	}(r.off)
	r.screen.say("machine", "%s", why)
	return nil
}

// patient is for one thing to happen.
func (r *rack) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, r.flags.patience, errors.New("it has not happened within "+r.flags.patience.String()))
}

// line waits for a line on the console.
func (r *rack) line(ctx context.Context, match func(line string) bool) (string, error) {
	ctx, cancel := r.patient(ctx)
	defer cancel()
	return r.machine.WaitLine(ctx, match)
}

// says waits for a text on the console.
func (r *rack) says(ctx context.Context, text string) error {
	_, err := r.line(ctx, func(line string) bool { return strings.Contains(line, text) })
	return err
}

// runs waits for the kernel to say which build it is of.
func (r *rack) runs(ctx context.Context, build int) error {
	line, err := r.line(ctx, func(line string) bool { return strings.Contains(line, "Kernel command line: ") })
	if err != nil {
		return err
	}
	if !strings.Contains(line, " "+buildWord(build)+" ") {
		return fmt.Errorf("the machine has booted another build than %d: %s", build, line)
	}
	return nil
}

// reach waits for a phase of the boot, the next time that the machine is in it.
func (r *rack) reach(ctx context.Context, p machine.Phase, fields ...string) (stage.Line, error) {
	text, err := r.line(ctx, func(line string) bool { return phaseOf(line) == p || over(line) })
	if err != nil {
		return stage.Line{}, err
	}
	l, _ := stage.Parse(text)
	if l.Get("phase") != string(p) {
		return l, fmt.Errorf("the machine did not come to the phase %s: %s", p, text)
	}
	for _, f := range fields {
		key, want, _ := strings.Cut(f, "=")
		if got := l.Get(key); got != want {
			return l, fmt.Errorf("%s is %q, and should be %q: %s", key, got, want, text)
		}
	}
	return l, nil
}

// reboots waits for the machine to reboot by itself, and lets it.
func (r *rack) reboots(ctx context.Context) error {
	patient, cancel := r.patient(ctx)
	defer cancel()
	end, err := r.machine.Wait(patient)
	if err != nil {
		return err
	}
	if end.Reason != vm.Reboot {
		return fmt.Errorf("the machine has ended with %q, and should have rebooted", end.Reason)
	}
	return r.switchOn(ctx, "reboots")
}
