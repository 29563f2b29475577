package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ember-os/ember/os/lab/cast"
)

// step is a part of the demonstration. Do returns once it has happened, with what was seen of it in a few words, or
// says why it has not.
type step struct {
	name string // for the table
	text string // what is about to happen
	do   func(r *rack, ctx context.Context) (seen string, err error)
}

// scenario is what the lab shows.
var scenario = []step{
	{"servers", "The servers start: DHCP, time, boot server, attestd, registries, Tinkerbell", (*rack).startServers},
	{"boot from the network", "The machine is switched on: its firmware asks the network what to boot", (*rack).bootFromNetwork},
	{"attestation", "It proves with its TPM which machine it is, and what it has booted", (*rack).attest},
	{"configuration", "It gets its configuration, sealed to its TPM, and starts what is in it", (*rack).configure},
	{"workflow", "Tinkerbell has it run a workflow, which writes its second disk", (*rack).workflow},
	{"healthy", "With that it is healthy, and tells attestd", (*rack).healthy},
	{"kept", "It keeps what made it so on its EFI system partition", (*rack).keep},
	{"power cut", "All servers stop, and the machine's power is cut", (*rack).powerCut},
	{"boot from the disk", "The power is back, the servers are not: it comes up from its disk", (*rack).bootFromDisk},
	{"forged configuration", "The servers are back with a new build; attestd serves a configuration that a stranger has signed", (*rack).refuse},
	{"bad configuration", "A configuration is published that is signed, but bad: no machine becomes healthy with it", (*rack).goRound},
	{"good configuration", "A good configuration is published: it takes that, and keeps it", (*rack).settle},
}

// took is a line of the table.
type took struct {
	name, seen string
	time       time.Duration
}

// play goes through the steps, and ends with the table of those that have happened.
func (r *rack) play(ctx context.Context, steps []step) error {
	r.probe(ctx)
	r.introduce()
	var table []took
	for i, s := range steps {
		r.screen.heading(i+1, s.text)
		if r.flags.step {
			if err := r.prompt(ctx); err != nil {
				return r.stopped(ctx, table, s.name, err)
			}
		}
		begin := time.Now()
		seen, err := s.do(r, ctx)
		if err != nil {
			return r.stopped(ctx, table, s.name, err)
		}
		r.screen.saw(seen)
		table = append(table, took{s.name, seen, time.Since(begin)})
	}
	r.screen.print("\n" + tableOf(table))
	if r.flags.stay {
		r.screen.print("\nThe machine and its servers go on until Ctrl-C. The status page is " + r.page() + "\n")
		r.pause(ctx, false) // ends with ctx
	}
	return nil
}

// stopped ends the lab before its end, with the table of what has happened.
func (r *rack) stopped(ctx context.Context, table []took, name string, err error) error {
	r.screen.print("\n" + tableOf(table))
	if ctx.Err() != nil {
		return fmt.Errorf("stopped in step %d, %s", len(table)+1, name)
	}
	return fmt.Errorf("step %d, %s: %w", len(table)+1, name, err)
}

// introduce says what there is.
func (r *rack) introduce() {
	processors := "one emulated processor"
	if r.config.KVM {
		processors = "two processors (KVM)"
	}
	r.screen.print(fmt.Sprintf("%sEmber's lab%s: one machine and its servers, on this computer\n\n"+
		"  machine      %s, %d MiB, UEFI, TPM 2.0\n"+
		"  its disks    one with an EFI system partition, which is empty, and an empty one\n"+
		"  its console  %s\n", cast.Bold, cast.Plain, processors, r.config.MemoryMiB, r.consoleFile()))
}
