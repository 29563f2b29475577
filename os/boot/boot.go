// Package boot is the program that makes a boot end well: a healthy node whose system and configuration are kept, or
// another boot (docs/last-known-good.md). It runs where the kernel command line has ember.lkg=on, in place of
// "ember attest".
//
// Package os/lkg/machine decides. This one does what it says, one thing at a time, with os/attest, os/health and the
// packages below os/lkg, and tells init each transition, which prints it as a stage. init starts the workload once
// the configuration is in the root, and reboots when it is asked to.
//
// No disk is touched but the EFI system partition, and no file there but those of package slot. The partition is
// mounted while something is done with it. What is wrong with it, or with EFI variables, is reported and ends no
// boot.
//
// When this program ends and is started again, it goes on where it was; if it had begun to write the configuration to
// the root, the machine reboots.
package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/attest"
	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/lkg/efiboot"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/measured"
)

const usage = `usage: ember boot

Leads the machine from the network to a healthy node, and keeps what did so on
the EFI system partition. init starts it.
`

// Unit is the service that this program is.
const Unit = "ember-boot.service"

// Main is the program.
func Main(args []string) int {
	return cli.Run("ember boot", usage, args, cli.Command{Run: run})
}

func run(ctx context.Context, args []string) error {
	if err := cli.NoArguments(args); err != nil {
		return err
	}
	config, _, err := cmdline.Read() // init reports the mistakes
	if err != nil {
		return err
	}
	if config.LKG.Mode == cmdline.LKGOff {
		return fmt.Errorf("%s is off", cmdline.LKGParam)
	}
	steps, err := attest.NewSteps(ctx, config)
	if err != nil {
		return err
	}
	n := &node{
		config: config,
		log:    logline.New(os.Stderr, min(config.Log, slog.LevelInfo)),
		root:   "/",
		vars:   efiboot.Variables{Dir: efiboot.Dir},
		steps:  steps,

		tpm:      func() (transport.TPMCloser, error) { return tpm.Open(tpm.Device) },
		measured: measured.Read,
	}
	n.partition = n.mount
	r, err := ReadRecord(Path)
	if err != nil {
		return errors.Join(err, steps.Close())
	}
	before := n.before(ctx, r)
	b := r.resume(n.examine(ctx))
	n.from = b.From
	newDriver(n, n.log).run(ctx, b, before...)
	return steps.Close()
}

// before is what another process of this program has done in this boot, by the record that it has left.
func (n *node) before(ctx context.Context, r Record) []machine.Event {
	n.again = r.Phase != ""
	early := []machine.Event{machine.Done, machine.Done, machine.Done} // up to Fetch
	if r.Kept {
		early = []machine.Event{machine.Late, machine.Done}
	}
	switch n.steps.State().Phase {
	case attest.Committing:
		return append(early, machine.Broken)
	case attest.Applied, attest.Capped, attest.NoTPM:
		if err := n.steps.Cap(ctx); err != nil {
			n.warn("the TPM can not be kept from attesting once more", err)
			return append(early, machine.Broken)
		}
		return append(early, machine.Done)
	}
	return nil
}

// limits are those of the command line, else the machine's.
func limits(given map[string]time.Duration) machine.Limits {
	l := machine.DefaultLimits
	for name, field := range map[string]*time.Duration{
		"network": &l.Network, "attest": &l.Attest, "fetch": &l.Fetch, "apply": &l.Apply, "start": &l.Start,
		"disk": &l.Disk, "ask": &l.Ask, "hold": &l.Hold, "wait": &l.Backoff, "longest": &l.MaxBackoff, "probe": &l.Probe,
	} {
		if d, ok := given[name]; ok {
			*field = d
		}
	}
	return l
}
