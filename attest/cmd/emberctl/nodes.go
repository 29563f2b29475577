package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/view"
)

// filterValues are what some flags of nodes may say.
var filterValues = map[string][]string{
	"state": view.States, "tier": tiers, "boot": {"network", "disk"}, "health": {"healthy", "starting", "failing"},
}

func (a *app) nodes() *cobra.Command {
	var o connection
	var filter view.Filter
	var after string
	var limit int
	var all, wide, asJSON bool
	c := &cobra.Command{
		Use:   "nodes",
		Short: "List machines: tier, state, last attestation, image, overlay, verdict",
		Long: `List machines, in the order of their names. Filters must all hold.

STATE is attested: it was let in and was there; granted: it was let in, and nobody has
shown to be it; refused: it was not let in when it asked last; waiting: for an operator;
enrolled: it has not asked since; or revoked. TIER, IMAGE, OVERLAY and BOOT are of the
last time that it was let in. VERDICT is the last one of all: ok, or the reason of a
refusal and the PCRs that differ from the policy. With a "?" behind it, it is not proved
that the machine itself has asked: anybody who knows its endorsement key can, in its name.`,
		Example: `  emberctl nodes
  emberctl nodes --state refused
  emberctl nodes --tier attested --overlay workers:7 --boot network
  emberctl nodes --search rack4 --limit 20
  emberctl nodes --all --json | jq -r '.nodes[] | select(.health == "failing") | .node'`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > admin.Page {
				return misuse("--limit is a number from 1 to %d; --all lists all machines", admin.Page)
			}
			for name, values := range filterValues {
				if f := cmd.Flags().Lookup(name); f.Changed && !slices.Contains(values, f.Value.String()) {
					return misuse("--%s is one of %s, not %q", name, strings.Join(values, ", "), f.Value)
				}
			}
			client, err := o.client()
			if err != nil {
				return err
			}
			list := admin.Nodes{Nodes: []view.Row{}}
			for next := after; ; next = list.Next {
				var page admin.Nodes
				err := o.within(cmd.Context(), func(ctx context.Context) (err error) {
					page, err = client.Nodes(ctx, filter, next, limit)
					return err
				})
				if err != nil {
					return err
				}
				list.Nodes, list.Next = append(list.Nodes, page.Nodes...), page.Next
				if !all || page.Next == "" {
					break
				}
			}
			if asJSON {
				return printJSON(a.stdout, list)
			}
			if err := a.printNodes(list.Nodes, wide); err != nil {
				return err
			}
			if list.Next != "" {
				fmt.Fprintf(a.stderr, "There are more: --all, or --after %s\n", list.Next)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&filter.State, "state", "", strings.Join(view.States, ", "))
	f.StringVar(&filter.Tier, "tier", "", "attested, enrolled or none")
	f.StringVar(&filter.Verdict, "verdict", "", "ok, or the code of a refusal, for example policy-pcr")
	f.StringVar(&filter.Boot, "boot", "", "network or disk")
	f.StringVar(&filter.Image, "image", "", "version of the image")
	f.StringVar(&filter.Overlay, "overlay", "", "NAME or NAME:VERSION")
	f.StringVar(&filter.Health, "health", "", "healthy, starting or failing")
	f.StringVar(&filter.Search, "search", "", "part of a name, note, serial number, model, host name or address")
	f.IntVar(&limit, "limit", 100, "how many machines a page has")
	f.StringVar(&after, "after", "", "the machines behind this one")
	f.BoolVar(&all, "all", false, "all pages")
	f.BoolVar(&wide, "wide", false, "whole names, and more columns")
	jsonFlag(c, &asJSON)
	for name, values := range filterValues {
		c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	o.add(c)
	return c
}

func (a *app) printNodes(rows []view.Row, wide bool) error {
	if wide {
		return table(a.stdout, "NODE TIER STATE ATTESTED IMAGE OVERLAY BOOT VERDICT AT ADDRESS POLICY HEALTH HOST SERIAL MODEL NOTE", rows, func(r view.Row) []string {
			return append(append([]string{r.Node}, cells(r)...), stamp(r.Time), r.Address, r.Policy, r.Health, r.Hostname, r.Serial, r.Model, r.Note)
		})
	}
	return table(a.stdout, "NODE TIER STATE ATTESTED IMAGE OVERLAY BOOT VERDICT", rows, func(r view.Row) []string {
		return append([]string{short(r.Node)}, cells(r)...)
	})
}

func cells(r view.Row) []string {
	return []string{string(r.Tier), r.State, stamp(r.Attested), r.Image, r.OverlayText(), r.Boot, verdict(r)}
}

// verdict is the last one in a word or two.
func verdict(r view.Row) string {
	if r.Verdict == "" {
		return ""
	}
	text := r.Verdict
	if !r.Opened {
		text += "?"
	}
	if len(r.Differs) > 0 {
		text += " " + strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Differs), " ", ","), "[]")
	}
	return text
}
