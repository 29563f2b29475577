package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/store"
)

func (a *app) queue() *cobra.Command {
	var o connection
	var asJSON bool
	c := &cobra.Command{
		Use:   "queue",
		Short: "List the machines that wait to be enrolled",
		Long: `List the machines that wait to be enrolled: those that nobody has enrolled, and
whose TPM has no certificate that the server trusts.

Serial number and model are the machine's own words, and anybody who reaches the
server can be in the queue. Compare NODE with what the machine shows on its
console, then approve it.`,
		Example: `  emberctl queue
  emberctl queue --json | jq -r '.[] | select(.claims.serial == "8XK2M33") | .node'`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.call(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
				queue, err := c.Queue(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, append([]store.Waiting{}, queue...))
				}
				return table(a.stdout, "NODE FIRST LAST ADDRESS SERIAL MODEL PROBLEM EK-SIGNED-BY", queue, func(w store.Waiting) []string {
					return []string{w.Node, stamp(w.First), stamp(w.Last), w.Address, w.Claims.Serial, w.Claims.Model, w.Problem, w.Issuer}
				})
			})
		},
	}
	jsonFlag(c, &asJSON)
	o.add(c)
	return c
}
