package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/store"
)

func (a *app) revoke() *cobra.Command {
	var o connection
	var note string
	var yes, asJSON bool
	c := &cobra.Command{
		Use:   "revoke NODE",
		Short: "Let a machine in no more",
		Long: `Let a machine in no more, whatever certificate its endorsement key has. It is told
so when it asks again. A certificate that it was given before is good for at most
15 minutes more. What runs on it runs on.

The machine need not be known: the whole name of one that may come is taken as
well. Of those that are known the beginning of the name is enough, if no other
begins so.`,
		Example: `  emberctl revoke 9f86d081 --note stolen
  emberctl revoke 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --yes`,
		Args: takes("the name of a machine"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := o.client()
			if err != nil {
				return err
			}
			node, about, err := o.find(cmd.Context(), client, args[0])
			if errors.Is(err, store.ErrNotFound) && store.CheckNode(args[0]) == nil {
				node, about = args[0], "a machine that is not known"
			} else if err != nil {
				return err
			}
			if err := a.confirm(cmd.Context(), yes, "This locks out %s\n  %s", node, about); err != nil {
				return err
			}
			return o.within(cmd.Context(), func(ctx context.Context) error {
				if err := client.Revoke(ctx, node, note); err != nil {
					return err
				}
				return a.tell(asJSON, outcome{node, "revoke", true}, "revoked "+node)
			})
		},
	}
	c.Flags().StringVar(&note, "note", "", "kept with the machine, for example why")
	yesFlag(c, &yes)
	jsonFlag(c, &asJSON)
	o.add(c)
	c.ValidArgsFunction = o.complete(nodeNames)
	return c
}
