package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/os/logline"
)

func (a *app) overlayList() *cobra.Command {
	var o connection
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [NAME]",
		Short: "List the overlays of a server, with the versions that there are",
		Long: `List the overlays of a server, all or one, with the version that is published, which
machines get, and those that are kept to go back to.`,
		Example: `  emberctl overlay list
  emberctl overlay list rack --json`,
		Args: takes("[the name of an overlay]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.call(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
				list, err := overlays(ctx, c, args)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, list)
				}
				return a.printOverlays(list, time.Now())
			})
		},
	}
	jsonFlag(c, &asJSON)
	o.add(c)
	c.ValidArgsFunction = o.complete(overlayNames)
	return c
}

func overlays(ctx context.Context, c *admin.Client, names []string) ([]depot.Overlay, error) {
	if len(names) == 0 {
		list, err := c.Overlays(ctx)
		return append([]depot.Overlay{}, list...), err
	}
	one, err := c.Overlay(ctx, names[0])
	if err != nil {
		return nil, fmt.Errorf("overlay %q: %w", names[0], err)
	}
	return []depot.Overlay{one}, nil
}

func (a *app) printOverlays(list []depot.Overlay, now time.Time) error {
	type line struct {
		name string
		depot.Version
	}
	var lines []line
	for _, overlay := range list {
		for _, v := range overlay.Versions {
			lines = append(lines, line{overlay.Name, v})
		}
	}
	err := table(a.stdout, "NAME VERSION STATE CREATED EXPIRES NODES SIZE CIPHERTEXT", lines, func(l line) []string {
		state := "kept"
		if l.Published {
			state = "published"
		}
		if !l.Expires.IsZero() && !now.Before(l.Expires) {
			state += ", expired"
		}
		nodes := "all"
		if len(l.Nodes) > 0 {
			nodes = fmt.Sprint(len(l.Nodes))
		}
		where := "here"
		if l.URL != "" {
			where = l.URL
		}
		return []string{l.name, fmt.Sprint(l.Version.Version), state, stamp(l.Created), stamp(l.Expires), nodes, fmt.Sprint(l.Ciphertext.Size), where}
	})
	for _, overlay := range list {
		if overlay.Problem != "" {
			fmt.Fprintf(a.stderr, "emberctl: overlay %s: %s\n", overlay.Name, logline.Visible(overlay.Problem))
		}
	}
	return err
}
