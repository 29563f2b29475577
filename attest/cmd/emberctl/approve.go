package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/store"
)

func (a *app) approve() *cobra.Command {
	var o connection
	var note string
	var asJSON bool
	c := &cobra.Command{
		Use:   "approve NODE",
		Short: "Enroll a machine of the queue",
		Long: `Enroll a machine of the queue. It asks again within a minute, and is let in then.

The whole name must be given: it is the SHA-256 of the machine's endorsement key.
Compare it with the one that the machine shows on its console: everything else in
the queue is the machine's own word.`,
		Example: `  emberctl approve 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --note "rack 4"`,
		Args:    takes("the name of a machine"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := store.CheckNode(args[0]); err != nil {
				return misuse("%w", err)
			}
			return o.call(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
				err := c.Approve(ctx, args[0], note)
				if errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("the machine is not in the queue, which emberctl queue shows; emberctl enroll needs no queue: %w", err)
				} else if err != nil {
					return err
				}
				return a.tell(asJSON, outcome{args[0], "approve", true}, "approved "+args[0])
			})
		},
	}
	c.Flags().StringVar(&note, "note", "", "kept with the machine")
	jsonFlag(c, &asJSON)
	o.add(c)
	c.ValidArgsFunction = o.complete(queueNames)
	return c
}
