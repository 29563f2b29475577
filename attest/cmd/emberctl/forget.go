package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/store"
)

func (a *app) forget() *cobra.Command {
	var o connection
	var yes, asJSON bool
	c := &cobra.Command{
		Use:   "forget NODE",
		Short: "Undo enroll, approve and revoke",
		Long: `Undo enroll, approve and revoke: nothing is said of the machine any longer. One that
was revoked is let in again if its endorsement key has a certificate that the server
trusts, and is in the queue otherwise. One that was enrolled and has no such
certificate is locked out until it is approved again.`,
		Example: `  emberctl forget 9f86d081
  emberctl forget 9f86d081 --yes`,
		Args: takes("the name of a machine"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := o.client()
			if err != nil {
				return err
			}
			node, about, err := o.find(cmd.Context(), client, args[0])
			if err != nil {
				return err
			}
			if err := a.confirm(cmd.Context(), yes, "This forgets what was said of %s\n  %s", node, about); err != nil {
				return err
			}
			return o.within(cmd.Context(), func(ctx context.Context) error {
				err := client.Forget(ctx, node)
				if errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("the machine is neither enrolled nor revoked, so there is nothing to forget: %w", err)
				} else if err != nil {
					return err
				}
				return a.tell(asJSON, outcome{node, "forget", true}, "forgot "+node)
			})
		},
	}
	yesFlag(c, &yes)
	jsonFlag(c, &asJSON)
	o.add(c)
	c.ValidArgsFunction = o.complete(nodeNames)
	return c
}
