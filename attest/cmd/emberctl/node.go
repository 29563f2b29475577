package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/view"
)

func (a *app) node() *cobra.Command {
	var o connection
	var events, asJSON bool
	c := &cobra.Command{
		Use:   "node NODE",
		Short: "Show a machine: its last quote beside the policy, event by event, and its boots",
		Long: `Show all that is known of a machine: the last quote beside the policy that applied, or
that the machine came furthest with, PCR by PCR and event by event, and the stages of
its last boots. What differs has a ">" before it. If the last verdict is a refusal, the
quote is that of the refusal.

The beginning of the name is enough, if no other machine's begins so.`,
		Example: `  emberctl node 9f86d081
  emberctl node 9f86d081 --events
  emberctl node 9f86d081 --json >node.json`,
		Args: takes("the name of a machine"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := o.client()
			if err != nil {
				return err
			}
			n, err := o.node(cmd.Context(), client, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.stdout, n)
			}
			return printNode(a.stdout, n, events)
		},
	}
	c.Flags().BoolVar(&events, "events", false, "all events, also those that the policy says nothing of")
	jsonFlag(c, &asJSON)
	o.add(c)
	c.ValidArgsFunction = o.complete(nodeNames)
	return c
}

// node is all that is known of the machine whose name begins with text.
func (o *connection) node(ctx context.Context, c *admin.Client, text string) (n view.Node, err error) {
	name, _, err := o.find(ctx, c, text)
	if err != nil {
		return n, err
	}
	err = o.within(ctx, func(ctx context.Context) error {
		n, err = c.Node(ctx, name)
		return err
	})
	return n, err
}
