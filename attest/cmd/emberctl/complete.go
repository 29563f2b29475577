package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/view"
	"github.com/ember-os/ember/os/logline"
)

// completionPatience is how long a shell waits for a server when somebody presses Tab.
const completionPatience = 2 * time.Second

// choices asks a server what an argument may be that begins with typed and comes after args.
type choices func(ctx context.Context, c *admin.Client, args []string, typed string) ([]cobra.Completion, error)

// complete completes arguments, with one of list for each.
func (o *connection) complete(list ...choices) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(list) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return o.completeWith(list[len(args)])(cmd, args, typed)
	}
}

// completeWith gives what a server says. Without an answer there is nothing to complete.
func (o *connection) completeWith(list choices) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		o.timeout = completionPatience
		var all []cobra.Completion
		err := o.call(cmd.Context(), func(ctx context.Context, c *admin.Client) (err error) {
			all, err = list(ctx, c, args, typed)
			return err
		})
		if err != nil {
			cobra.CompErrorln(err.Error())
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

// nodeNames are names of machines, if they are a page: a part of them would make shells believe that all begin alike.
func nodeNames(ctx context.Context, c *admin.Client, _ []string, typed string) (all []cobra.Completion, err error) {
	page, err := c.Nodes(ctx, view.Filter{Node: typed}, "", admin.Page)
	if page.Next != "" {
		return cobra.AppendActiveHelp(nil, fmt.Sprintf("more than %d machines: another digit, please", admin.Page)), nil
	}
	for _, r := range page.Nodes {
		all = append(all, cobra.CompletionWithDesc(r.Node, describe(r)))
	}
	return all, err
}

func queueNames(ctx context.Context, c *admin.Client, _ []string, _ string) (all []cobra.Completion, err error) {
	queue, err := c.Queue(ctx)
	for _, w := range queue {
		all = append(all, cobra.CompletionWithDesc(w.Node, logline.Visible(w.Claims.Serial)))
	}
	return all, err
}

func overlayNames(ctx context.Context, c *admin.Client, _ []string, _ string) (all []cobra.Completion, err error) {
	list, err := c.Overlays(ctx)
	for _, overlay := range list {
		all = append(all, overlay.Name)
	}
	return all, err
}

// overlayVersions are those of the overlay that is named before.
func overlayVersions(ctx context.Context, c *admin.Client, args []string, _ string) (all []cobra.Completion, err error) {
	overlay, err := c.Overlay(ctx, args[0])
	for _, v := range overlay.Versions {
		about := "of " + stamp(v.Created)
		if v.Published {
			about += ", published"
		}
		all = append(all, cobra.CompletionWithDesc(fmt.Sprint(v.Version), about))
	}
	return all, err
}

func (o *connection) completeContexts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	f, err := o.read()
	if err != nil {
		cobra.CompErrorln(err.Error())
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.Names(), cobra.ShellCompDirectiveNoFileComp
}
