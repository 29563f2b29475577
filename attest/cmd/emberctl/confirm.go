package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// yesFlag adds --yes.
func yesFlag(c *cobra.Command, yes *bool) {
	c.Flags().BoolVarP(yes, "yes", "y", false, "do it without a question")
}

// confirm says what will be done, and asks. The error of whoever says no, also by Ctrl-C, is a refusal, and so is that
// there is nobody to ask.
func (a *app) confirm(ctx context.Context, yes bool, format string, args ...any) error {
	fmt.Fprintf(a.stderr, format+"\n", args...)
	if yes {
		return nil
	}
	if !isTerminal(a.stdin) {
		return refusal("nothing was done: standard input is no terminal to ask at; with --yes it is done without a question")
	}
	fmt.Fprint(a.stderr, "Go on? [y/N] ")
	line, err := readLine(ctx, a.stdin)
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	if errors.Is(err, io.EOF) || ctx.Err() != nil { // the line has no end
		fmt.Fprintln(a.stderr)
	}
	return refusal("nothing was done")
}

func isTerminal(f interface{ Fd() uintptr }) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
