package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/contexts"
)

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
