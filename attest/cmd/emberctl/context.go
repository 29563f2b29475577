package main

import "github.com/spf13/cobra"

func (a *app) context() *cobra.Command {
	c := &cobra.Command{
		Use:   "context",
		Short: "Servers that have a name",
		Long: `Servers that have a name, and how you come to them, in the configuration file
~/.config/ember/emberctl.yaml, or that of --config or EMBERCTL_CONFIG.

What a context says can be said for one call by the flags --context, --server,
--pin, --ca and --operator, or by EMBERCTL_CONTEXT, EMBERCTL_SERVER, EMBERCTL_PIN,
EMBERCTL_CA and EMBERCTL_OPERATOR. A flag comes before the environment, and the
environment before the context.`,
		Example: `  emberctl context set rack --server https://attest.example.com:8444 --pin sha256:… --operator ann.key
  emberctl context list`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	c.AddCommand(a.contextList(), a.contextSet(), a.contextUse(), a.contextRemove())
	return c
}
