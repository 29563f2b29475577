package main

import "github.com/spf13/cobra"

func (a *app) contextRemove() *cobra.Command {
	var o connection
	var yes bool
	c := &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove a context",
		Long:              `Remove a context. The operator's key that it names stays where it is.`,
		Example:           `  emberctl context remove rack --yes`,
		Args:              takes("the name of a context"),
		ValidArgsFunction: o.completeContexts,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := o.read()
			if err != nil {
				return err
			}
			c := f.Contexts[args[0]]
			if err := f.Remove(args[0]); err != nil {
				return err
			}
			if err := a.confirm(cmd.Context(), yes, "This removes the context %s, of %s", args[0], c.Server); err != nil {
				return err
			}
			if err := f.Write(); err != nil {
				return err
			}
			return a.printf("removed the context %s\n", args[0])
		},
	}
	yesFlag(c, &yes)
	o.file(c)
	return c
}
