package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ember-os/ember/os/version"
)

// app is a call of the program.
type app struct {
	stdin          *os.File
	stdout, stderr io.Writer
}

// The groups of commands in the help.
const (
	machineGroup = "machines"
	overlayGroup = "overlays"
	policyGroup  = "policies"
	setupGroup   = "setup"
)

const long = `emberctl is the tool of those who run machines with Ember: it makes keys, seals
configuration for machines, publishes it, and decides with an attestation
server which machines are let in.

Commands about machines, and "overlay", talk to attestd: at the address of a
context (emberctl context set), or of --server. The others need no server.`

const exits = `
Exit status: 0 done, 1 failed, 2 a call that makes no sense, 3 there is no such
thing, 4 refused, by the server or at the question, 5 the answer is no.
`

// root is the whole tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "emberctl",
		Short: "The tool of those who run machines with Ember",
		Long:  long,
		Example: `  emberctl keygen --operator ann
  emberctl context set rack --server https://attest.example.com:8444 --pin sha256:… --operator ann.key
  emberctl nodes --state waiting
  emberctl approve 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`,
		Version:       version.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          group,
	}
	root.AddGroup(
		&cobra.Group{ID: machineGroup, Title: "Machines:"},
		&cobra.Group{ID: overlayGroup, Title: "Overlays:"},
		&cobra.Group{ID: policyGroup, Title: "Policies and measurements:"},
		&cobra.Group{ID: setupGroup, Title: "Setting up:"},
	)
	for id, commands := range map[string][]*cobra.Command{
		machineGroup: {a.queue(), a.nodes(), a.node(), a.enroll(), a.approve(), a.dismiss(), a.revoke(), a.forget()},
		overlayGroup: {a.seal(), a.inspect(), a.push(), a.overlay()},
		policyGroup:  {a.policy(), a.measurements()},
		setupGroup:   {a.keygen(), a.context(), a.completion()},
	} {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID(setupGroup)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse("%w", err) })
	root.SetUsageTemplate(strings.TrimRight(root.UsageTemplate(), "\n") + "\n" + exits)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	return root
}

// group is what a command does that has commands below it, and is called by itself or with one that is none.
func group(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return misuse("%s needs a command: %s", c.CommandPath(), strings.Join(names(c), ", "))
	}
	c.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("%s has no command %q", c.CommandPath(), args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; is it " + strings.Join(near, " or ") + "?"
	}
	return misuse("%s", text)
}

func names(c *cobra.Command) (all []string) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, sub.Name())
		}
	}
	return all
}

// run runs one command and returns the exit status.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return done
	}
	fmt.Fprintf(a.stderr, "emberctl: %v\n", advise(err))
	status := statusOf(err)
	if status == wrongCall {
		fmt.Fprintf(a.stderr, "See: %s --help\n", c.CommandPath())
	}
	return status
}

// takes checks arguments: those that are named, of which the last may be left out if it is in brackets.
func takes(what ...string) cobra.PositionalArgs {
	least := len(what)
	if least > 0 && strings.HasPrefix(what[least-1], "[") {
		least--
	}
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(what) == 0 && len(args) > 0:
			return misuse("%s takes no argument, and %q is one", c.CommandPath(), args[0])
		case len(args) < least || len(args) > len(what):
			return misuse("%s takes %s, and %d are given", c.CommandPath(), strings.Join(what, " and "), len(args))
		}
		return nil
	}
}
