package main

import "github.com/spf13/cobra"

func (a *app) contextUse() *cobra.Command {
	var o connection
	c := &cobra.Command{
		Use:               "use NAME",
		Short:             "Make a context the current one",
		Example:           `  emberctl context use rack`,
		Args:              takes("the name of a context"),
		ValidArgsFunction: o.completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := o.read()
			if err == nil {
				err = f.Use(args[0])
			}
			if err == nil {
				err = f.Write()
			}
			if err != nil {
				return err
			}
			return a.printf("context %s is the current one\n", args[0])
		},
	}
	o.file(c)
	return c
}
