package main

import (
	"context"
	"fmt"

	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/attest/view"
	"github.com/ember-os/ember/os/lkg/machine"
)

// unsigned is what a machine says of a configuration by somebody whom its build does not name.
const unsigned = "not signed by a key that is trusted"

func (r *rack) refuse(ctx context.Context) (string, error) {
	if err := r.forge(ctx, r.configuration("two")...); err != nil {
		return "", err
	}
	if err := r.renew(ctx); err != nil {
		return "", err
	}
	if err := r.refuses(ctx, unsigned); err != nil {
		return "", err
	}
	n, err := r.view(ctx, "the machine to be given the overlay", func(n *view.Row) bool { return n.OverlayText() == station.Rack+":2" })
	if err != nil {
		return "", err
	}
	if n.Policy != policyOf(2) {
		return "", fmt.Errorf("attestd has let the machine in by the policy %s", n.Policy)
	}
	if err := r.reboots(ctx); err != nil {
		return "", err
	}
	if err := r.unfetched(2); err != nil {
		return "", err
	}
	return fmt.Sprintf("refused as %q; %v is untouched", unsigned, r.good.good), r.untouched(ctx)
}

// renew has the servers back, with build 2. The machine, which runs from its disk, notices that and boots it.
func (r *rack) renew(ctx context.Context) error {
	if err := r.publish(2, laterLimits); err != nil {
		return err
	}
	if err := r.comeBack(ctx); err != nil {
		return err
	}
	r.screen.say("servers", "back, with build 2; attestd serves version 2, which a stranger has signed")
	if _, err := r.reach(ctx, machine.Waiting, "overlay=kept"); err != nil {
		return err
	}
	if err := r.reboots(ctx); err != nil {
		return err
	}
	return r.runs(ctx, 2)
}

func (r *rack) goRound(ctx context.Context) (string, error) {
	if err := r.station.Seal(ctx, r.badConfiguration("three")...); err != nil {
		return "", err
	}
	r.screen.say("servers", "version 3 of the configuration is published, in which %s fails", badUnit)
	if err := r.takes(ctx, 2, "three", unsigned); err != nil {
		return "", err
	}
	if _, err := r.view(ctx, "the machine to have its overlay", func(n *view.Row) bool { return n.OverlayText() == station.Rack+":3" }); err != nil {
		return "", err
	}
	if err := r.givesUp(ctx, badUnit); err != nil {
		return "", err
	}
	if err := r.reboots(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("the machine was never healthy and reboots; %v is untouched", r.good.good), r.untouched(ctx)
}

func (r *rack) settle(ctx context.Context) (string, error) {
	if err := r.station.Seal(ctx, r.configuration("four")...); err != nil {
		return "", err
	}
	r.screen.say("servers", "version 4 of the configuration is published")
	if err := r.takes(ctx, 2, "four", badUnit); err != nil {
		return "", err
	}
	if _, err := r.reach(ctx, machine.Kept, "from=network", "why="); err != nil {
		return "", err
	}
	n, err := r.view(ctx, "the machine to be healthy with it", func(n *view.Row) bool {
		return n.OverlayText() == station.Rack+":4" && n.Health == "healthy"
	})
	if err != nil {
		return "", err
	}
	before := r.good
	seen, err := r.keptNow(ctx, 4)
	if err == nil && r.good.good == before.good {
		err = fmt.Errorf("slot %v was the good one, and was written", before.good)
	}
	return fmt.Sprintf("%s; attestd has it as %s with %s", seen, n.Health, n.OverlayText()), err
}
