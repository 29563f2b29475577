package main

import "github.com/spf13/cobra"

func (a *app) measurements() *cobra.Command {
	c := &cobra.Command{
		Use:     "measurements",
		Short:   "Compare what machines record that boot two builds",
		Example: `  emberctl measurements diff measurements-0.1.0.json measurements-0.2.0.json`,
		Args:    cobra.ArbitraryArgs,
		RunE:    group,
	}
	c.AddCommand(a.measurementsDiff())
	return c
}
