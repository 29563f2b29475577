package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/os/logline"
)

func (a *app) measurementsDiff() *cobra.Command {
	var asJSON, exitCode bool
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say what is different in the measurements of two builds",
		Long: `Compare two files with measurements, which a build writes: what its files are, and for
each way to boot the events that a machine records and the conditions of a policy, on
values of PCRs and on events. What is the same is not shown.

With --exit-code the exit status is 5 if there is a difference.`,
		Example: `  emberctl measurements diff measurements-0.1.0.json measurements-0.2.0.json
  emberctl measurements diff old.json new.json --exit-code >/dev/null`,
		Args: takes("the measurements of an old build", "those of a new one"),
		RunE: func(_ *cobra.Command, args []string) error {
			before, err := readBuild(args[0])
			if err != nil {
				return err
			}
			after, err := readBuild(args[1])
			if err != nil {
				return err
			}
			d := before.Diff(after)
			if asJSON {
				err = printJSON(a.stdout, d)
			} else {
				err = a.printDifference(d)
			}
			if err == nil && exitCode && !d.Same() {
				err = answerNo("the measurements are different")
			}
			return err
		},
	}
	c.Flags().BoolVar(&exitCode, "exit-code", false, "say by the exit status whether there is a difference")
	jsonFlag(c, &asJSON)
	return c
}

func readBuild(path string) (*policy.Build, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading measurements: %w", err)
	}
	build, err := policy.ParseBuild(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return build, nil
}

func (a *app) printDifference(d *policy.Difference) error {
	a.printf("versions %s and %s\n", logline.Visible(d.OldVersion), logline.Visible(d.NewVersion))
	if d.Same() {
		return a.printf("Machines that boot them record the same.\n")
	}
	for _, f := range d.Files {
		a.printf("\nfile %s\n", logline.Visible(f.Name))
		a.printSides(f.Old, f.New)
	}
	for _, p := range d.Paths {
		a.printf("\nbooted by %s%s\n", logline.Visible(p.Name), map[string]string{"old": ", which the new build does not know", "new": ", which the old build did not know"}[p.Only])
		for _, e := range p.Log {
			a.printf("  PCR %d records %s\n", e.PCR, logline.Visible(e.What))
			a.printSides(e.Old, e.New)
		}
		for _, c := range p.Conditions {
			a.printf("  PCR %d %s\n", c.PCR, map[string]string{"value": "has the value", "require": "must have events", "only": "may have events"}[c.Kind])
			for _, digest := range c.Old {
				a.printSides(&digest, nil)
			}
			for _, digest := range c.New {
				a.printSides(nil, &digest)
			}
		}
	}
	return nil
}

// printSides prints what was and what is.
func (a *app) printSides(before, after *policy.Digest) {
	if before != nil {
		a.printf("    - %s\n", before)
	}
	if after != nil {
		a.printf("    + %s\n", after)
	}
}
