// Package cli is how our programs are called: their help, their errors and their
// exit statuses. 0 is success, 1 a failure, 2 a call that makes no sense. An error is
// marked as one where standard error is a log, see logline.Variable.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ember-os/ember/os/logline"
)

// The exit statuses.
const (
	success = iota
	failure
	misuse
)

// Command is what a program does for one word of its command line.
type Command struct {
	Name  string              // "" for a program that does one thing only
	Flags func(*flag.FlagSet) // declares flags; may be nil
	// Run gets the arguments behind the flags. Its context ends with SIGINT and
	// SIGTERM.
	Run func(ctx context.Context, args []string) error
}

// misuseError is an error of the caller, who is shown the usage.
type misuseError string

func (e misuseError) Error() string { return string(e) }

// Misuse is the error of a call that makes no sense.
func Misuse(format string, args ...any) error {
	return misuseError(fmt.Sprintf(format, args...))
}

// NoArguments is the error of arguments to a command that takes none.
func NoArguments(args []string) error {
	if len(args) > 0 {
		return Misuse("unexpected argument %q", args[0])
	}
	return nil
}

// Run runs one of the commands and returns the exit status. Errors go to standard
// error behind the program's name.
func Run(name, usage string, args []string, commands ...Command) int {
	return run(os.Stdout, os.Stderr, name, usage, args, commands)
}

func run(stdout, stderr io.Writer, name, usage string, args []string, commands []Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, args, commands)
	var wrong misuseError
	switch {
	case err == nil:
		return success
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return success
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "%s: %v\n%s", name, err, usage)
		return misuse
	default:
		text := fmt.Sprintf("%s: %v", name, err)
		if os.Getenv(logline.Variable) != "" {
			text = logline.Line{Severity: logline.Error, Text: strings.ReplaceAll(text, "\n", "; ")}.String()
		}
		fmt.Fprintln(stderr, text)
		return failure
	}
}

func dispatch(ctx context.Context, args []string, commands []Command) error {
	if commands[0].Name == "" {
		return commands[0].run(ctx, args)
	}
	if len(args) == 0 {
		return Misuse("no command given")
	}
	for _, c := range commands {
		if c.Name == args[0] {
			return c.run(ctx, args[1:])
		}
	}
	switch args[0] {
	case "help", "--help", "-help", "-h":
		return flag.ErrHelp
	}
	return Misuse("there is no command %q", args[0])
}

func (c Command) run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if c.Flags != nil {
		c.Flags(flags)
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return misuseError(err.Error())
	}
	return c.Run(ctx, flags.Args())
}
