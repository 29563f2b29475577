package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/stage"
)

// phaseOf is the phase that a line tells of, if it does.
func phaseOf(line string) machine.Phase {
	l, ok := stage.Parse(line)
	if !ok || l.Name != stage.Boot {
		return ""
	}
	return machine.Phase(l.Get("phase"))
}

// over tells that a boot goes no further.
func over(line string) bool {
	p := phaseOf(line)
	return p == machine.Waiting || p == machine.Leaving
}

// decided tells that a boot has led to a healthy node, or will not.
func decided(line string) bool { return phaseOf(line) == machine.Healthy || over(line) }

// applies tells that a configuration is put into the root, or is there.
func applies(line string) bool {
	return phaseOf(line) == machine.Apply || strings.Contains(line, configuredBy)
}

// gaveUp makes sure that the machine has given a boot up, and why.
func gaveUp(line, because string) error {
	l, _ := stage.Parse(line)
	if phaseOf(line) != machine.Waiting || !strings.Contains(l.Get("why"), because) {
		return fmt.Errorf("the machine should have given up because of %q: %s", because, line)
	}
	return nil
}

// givesUp waits for the machine to give a boot up, because of what is wrong with its configuration.
func (r *rack) givesUp(ctx context.Context, because string) error {
	line, err := r.line(ctx, decided)
	if err != nil {
		return err
	}
	return gaveUp(line, because)
}

// refuses waits for it to do so before it has applied anything.
func (r *rack) refuses(ctx context.Context, because string) error {
	line, err := r.line(ctx, func(line string) bool { return applies(line) || decided(line) })
	if err != nil {
		return err
	}
	return gaveUp(line, because)
}

// takes waits for a build to have a configuration that was just published. A boot that had asked before that is given
// up, because of what is wrong with the one before, and the machine comes round.
func (r *rack) takes(ctx context.Context, build int, name, because string) error {
	for {
		if err := r.runs(ctx, build); err != nil {
			return err
		}
		has := func(line string) bool { return strings.Contains(line, configuredBy+name) }
		line, err := r.line(ctx, func(line string) bool { return has(line) || decided(line) })
		if err != nil || has(line) {
			return err
		}
		if err := gaveUp(line, because); err != nil {
			return err
		}
		if err := r.reboots(ctx); err != nil {
			return err
		}
	}
}
