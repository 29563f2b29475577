package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/contexts"
)

// namedContext is a context in a list.
type namedContext struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	contexts.Context
}

func (a *app) contextList() *cobra.Command {
	var o connection
	var asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the contexts",
		Long:    `List the contexts. The current one has a star.`,
		Example: `  emberctl context list`,
		Args:    takes(),
		RunE: func(*cobra.Command, []string) error {
			f, err := o.read()
			if err != nil {
				return err
			}
			all := []namedContext{}
			for _, name := range f.Names() {
				c, err := f.Get(name)
				if err != nil {
					return err
				}
				all = append(all, namedContext{name, name == f.Current, c})
			}
			if asJSON {
				return printJSON(a.stdout, all)
			}
			return table(a.stdout, "CURRENT NAME SERVER TRUST OPERATOR", all, func(c namedContext) []string {
				trust := c.Pin
				if c.CA != "" {
					trust = c.CA
				}
				return []string{strings.Repeat("*", map[bool]int{true: 1}[c.Current]), c.Name, c.Server, trust, c.Operator}
			})
		},
	}
	jsonFlag(c, &asJSON)
	o.file(c)
	return c
}
