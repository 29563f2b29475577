package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ember-os/ember/agent/tinktest"
	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/view"
	"github.com/ember-os/ember/os/lkg/machine"
)

func (r *rack) bootFromNetwork(ctx context.Context) (string, error) {
	if err := r.switchOn(ctx, "switched on"); err != nil {
		return "", err
	}
	if err := r.runs(ctx, 1); err != nil {
		return "", err
	}
	_, err := r.reach(ctx, machine.Netboot, "from=network")
	return "build 1 runs, which the boot server has served", err
}

func (r *rack) attest(ctx context.Context) (string, error) {
	if _, err := r.reach(ctx, machine.Fetch, "from=network"); err != nil {
		return "", err
	}
	n, err := r.view(ctx, "the machine to be attested", func(n *view.Row) bool { return n.State == view.Attested })
	if err != nil {
		return "", err
	}
	if n.Tier != protocol.Attested || n.Policy != policyOf(1) {
		return "", fmt.Errorf("attestd has let it in with the tier %s, by the policy %s", n.Tier, n.Policy)
	}
	return fmt.Sprintf("attestd has machine %.8s as %s, by the measurements of build 1", n.Node, n.State), nil
}

func (r *rack) configure(ctx context.Context) (string, error) {
	if err := r.says(ctx, configuredBy+"one"); err != nil {
		return "", err
	}
	n, err := r.view(ctx, "the machine to have its overlay", func(n *view.Row) bool { return n.OverlayText() == station.Rack+":1" })
	return "the machine says \"" + configuredBy + "one" + "\", attestd that it has " + n.OverlayText(), err
}

func (r *rack) workflow(ctx context.Context) (string, error) {
	patient, cancel := r.patient(ctx)
	defer cancel()
	e, err := r.tink.Process.Wait(patient, "for the workflow to end", func(e tinktest.Event) bool { return e.Event == "workflow" })
	if err != nil {
		return "", err
	}
	if e.State != "SUCCESS" {
		return "", fmt.Errorf("the workflow has ended with %s", e.State)
	}
	got, err := os.ReadFile(r.target)
	if err != nil {
		return "", err
	}
	if !bytes.HasPrefix(got, images.Pattern(written)) {
		return "", errors.New("the workflow is over, and the disk does not hold what it should have written")
	}
	return fmt.Sprintf("the workflow has ended with %s, and its %s are on the disk", e.State, megabytes(written)), nil
}

func (r *rack) healthy(ctx context.Context) (string, error) {
	if _, err := r.reach(ctx, machine.Healthy, "from=network"); err != nil {
		return "", err
	}
	n, err := r.view(ctx, "the machine to be healthy", func(n *view.Row) bool { return n.Health == "healthy" })
	return "attestd has it as " + n.Health, err
}

func (r *rack) keep(ctx context.Context) (string, error) {
	if _, err := r.reach(ctx, machine.Kept, "from=network", "why="); err != nil {
		return "", err
	}
	return r.keptNow(ctx, 1)
}

// keptNow remembers what is kept, which is the build that is served, and overlay by its version.
func (r *rack) keptNow(ctx context.Context, overlay uint64) (string, error) {
	c, err := r.onDisk(ctx)
	if err != nil {
		return "", err
	}
	if c.overlay != overlay || !c.is(r.boots.Program()) {
		return "", fmt.Errorf("slot %v holds something else, with overlay %d", c.good, c.overlay)
	}
	r.good = c
	return c.String(), nil
}

func (r *rack) powerCut(ctx context.Context) (string, error) {
	r.stopServers()
	r.screen.say("servers", "stopped")
	r.machine.Close()
	r.screen.say("machine", "without power")
	all, err := r.refused()
	return fmt.Sprintf("%d servers refuse connections, DHCP is left", len(all)), err
}

func (r *rack) bootFromDisk(ctx context.Context) (string, error) {
	if err := r.switchOn(ctx, "switched on"); err != nil {
		return "", err
	}
	if err := r.runs(ctx, 1); err != nil {
		return "", err
	}
	if _, err := r.reach(ctx, machine.Netboot, "from=disk"); err != nil {
		return "", err
	}
	if _, err := r.reach(ctx, machine.Fetch, "from=disk", "overlay=kept"); err != nil {
		return "", err
	}
	if err := r.says(ctx, configuredBy+"one"); err != nil {
		return "", err
	}
	if _, err := r.reach(ctx, machine.Kept, "from=disk", "overlay=kept", "why="); err != nil {
		return "", err
	}
	if _, err := r.refused(); err != nil {
		return "", err
	}
	return "build 1 runs from the disk with the configuration that was kept, and is healthy", nil
}
