package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/contexts"
)

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

func (a *app) contextSet() *cobra.Command {
	var o connection
	var change contexts.Context
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a context, or change one",
		Long: `Make a context, or change one: flags that are not given leave what there is. The
first context becomes the current one. How to tell the server: --pin, its key's,
is what "attestd certificate" says; --ca is for a certificate of your own authority;
with neither, this computer's authorities count.`,
		Example: `  emberctl context set rack --server https://attest.example.com:8444 --pin sha256:… --operator ann.key
  emberctl context set here --server unix:/var/lib/attestd/admin.sock`,
		Args: takes("a name"),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := o.read()
			if err != nil {
				return err
			}
			for _, path := range []*string{&change.CA, &change.Operator} {
				if *path != "" {
					if *path, err = filepath.Abs(*path); err != nil {
						return err
					}
				}
			}
			next := f.Contexts[args[0]].Over(change)
			if err := next.Check(); err != nil {
				return misuse("%w", err)
			}
			if err := f.Set(args[0], next); err != nil {
				return misuse("%w", err)
			}
			if err := f.Write(); err != nil {
				return err
			}
			text := fmt.Sprintf("context %s is set", args[0])
			if f.Current == args[0] {
				text += ", and the current one"
			}
			return a.printf("%s\n", text)
		},
	}
	c.Flags().StringVar(&change.Server, "server", "", "https://HOST:PORT, or unix:PATH of attestd's socket")
	c.Flags().StringVar(&change.Pin, "pin", "", "pin of the server's key")
	c.Flags().StringVar(&change.CA, "ca", "", "file of authorities for the server's certificate")
	c.Flags().StringVar(&change.Operator, "operator", "", "file with your key, as keygen --operator makes it")
	o.file(c)
	return c
}

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
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := o.read()
			if err != nil {
				return err
			}
			c := f.Contexts[args[0]]
			if err := f.Remove(args[0]); err != nil {
				return err
			}
			if err := a.confirm(yes, "This removes the context %s, of %s", args[0], c.Server); err != nil {
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
