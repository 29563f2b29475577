package main

import "github.com/spf13/cobra"

func (a *app) overlay() *cobra.Command {
	c := &cobra.Command{
		Use:   "overlay",
		Short: "Publish overlays, list them, go back to an older one",
		Example: `  emberctl overlay publish overlays/rack
  emberctl overlay list rack
  emberctl overlay rollback rack 6 --key keys/signing.key`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	c.AddCommand(a.overlayPublish(), a.overlayList(), a.overlayRollback())
	return c
}
