package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/roster"
	"github.com/ember-os/ember/attest/store"
)

func (a *app) enroll() *cobra.Command {
	var o connection
	var note string
	var asJSON bool
	c := &cobra.Command{
		Use:   "enroll NODE|FILE",
		Short: "Enroll machines by name, or those in a file",
		Long: `Enroll machines: from now on the server trusts their endorsement keys, whether or
not these have a certificate.

FILE may have lines that begin with a machine's name (the rest is a note, "#"
begins a comment), and endorsement keys or their certificates in PEM, as makers
and inventories give them. Machines of it that are enrolled already are no error.
With --json there is one object for each machine.`,
		Example: `  emberctl enroll 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --note "rack 4"
  emberctl enroll delivery-2026-05.pem --note "delivery of May"`,
		Args: takes("the name of a machine or a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes, err := listed(args[0])
			if err != nil {
				return err
			}
			client, err := o.client()
			if err != nil {
				return err
			}
			one := len(nodes) == 1 && nodes[0] == args[0]
			for i, node := range nodes {
				err := o.within(cmd.Context(), func(ctx context.Context) error { return client.Enroll(ctx, node, note) })
				changed, words := true, "enrolled "+node
				if errors.Is(err, store.ErrEnrolled) && !one {
					changed, words = false, node+" was enrolled already"
				} else if err != nil {
					return fmt.Errorf("enrolling %s, %d of %d: %w", node, i+1, len(nodes), err)
				}
				if err := a.tell(asJSON, outcome{node, "enroll", changed}, words); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&note, "note", "", "kept with the machine")
	jsonFlag(c, &asJSON)
	o.add(c)
	return c
}

// listed are machines by name, or those in a file.
func listed(arg string) ([]string, error) {
	if store.CheckNode(arg) == nil {
		return []string{arg}, nil
	}
	b, err := os.ReadFile(arg)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, misuse("%q is neither the name of a machine, 64 digits of lower-case hex, nor a file", arg)
	} else if err != nil {
		return nil, fmt.Errorf("reading machines: %w", err)
	}
	machines, err := roster.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("reading machines of %s: %w", arg, err)
	}
	if len(machines) == 0 {
		return nil, fmt.Errorf("%s has no machine in it", arg)
	}
	return slices.Sorted(maps.Keys(machines)), nil
}
