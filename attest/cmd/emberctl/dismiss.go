package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/store"
)

func (a *app) dismiss() *cobra.Command {
	var o connection
	var asJSON bool
	c := &cobra.Command{
		Use:   "dismiss NODE",
		Short: "Take a machine off the queue",
		Long: `Take a machine off the queue. It is back when it asks again; emberctl revoke keeps
it out.`,
		Example: `  emberctl dismiss 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`,
		Args:    takes("the name of a machine"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := store.CheckNode(args[0]); err != nil {
				return misuse("%w", err)
			}
			return o.call(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
				err := c.Dismiss(ctx, args[0])
				if errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("the machine is not in the queue, which emberctl queue shows: %w", err)
				} else if err != nil {
					return err
				}
				return a.tell(asJSON, outcome{args[0], "dismiss", true}, "dismissed "+args[0])
			})
		},
	}
	jsonFlag(c, &asJSON)
	o.add(c)
	c.ValidArgsFunction = o.complete(queueNames)
	return c
}
