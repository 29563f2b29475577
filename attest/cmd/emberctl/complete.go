package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/view"
	"github.com/ember-os/ember/os/logline"
)

// completionPatience is how long a shell waits for a server when somebody presses Tab.
const completionPatience = 2 * time.Second

// complete gives what a server says, for the first argument. Without an answer there is nothing to complete.
func (o *connection) complete(list func(context.Context, *admin.Client) ([]cobra.Completion, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		o.timeout = completionPatience
		var all []cobra.Completion
		err := o.call(cmd.Context(), func(ctx context.Context, c *admin.Client) (err error) {
			all, err = list(ctx, c)
			return err
		})
		if err != nil {
			cobra.CompErrorln(err.Error())
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completeNodes(o *connection) cobra.CompletionFunc {
	return o.complete(func(ctx context.Context, c *admin.Client) (all []cobra.Completion, err error) {
		page, err := c.Nodes(ctx, view.Filter{}, "", admin.Page)
		for _, r := range page.Nodes {
			all = append(all, cobra.CompletionWithDesc(r.Node, describe(r)))
		}
		return all, err
	})
}

func (a *app) completeQueue(o *connection) cobra.CompletionFunc {
	return o.complete(func(ctx context.Context, c *admin.Client) (all []cobra.Completion, err error) {
		queue, err := c.Queue(ctx)
		for _, w := range queue {
			all = append(all, cobra.CompletionWithDesc(w.Node, logline.Visible(w.Claims.Serial)))
		}
		return all, err
	})
}

func (a *app) completeOverlays(o *connection) cobra.CompletionFunc {
	return o.complete(func(ctx context.Context, c *admin.Client) (all []cobra.Completion, err error) {
		list, err := c.Overlays(ctx)
		for _, overlay := range list {
			all = append(all, overlay.Name)
		}
		return all, err
	})
}

func (o *connection) completeContexts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	f, err := o.read()
	if err != nil {
		cobra.CompErrorln(err.Error())
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.Names(), cobra.ShellCompDirectiveNoFileComp
}
