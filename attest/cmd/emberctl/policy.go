package main

import "github.com/spf13/cobra"

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{
		Use:     "policy",
		Short:   "Try policies",
		Example: `  emberctl policy check attestd.yaml --node 9f86d081`,
		Args:    cobra.ArbitraryArgs,
		RunE:    group,
	}
	c.AddCommand(a.policyCheck())
	return c
}
