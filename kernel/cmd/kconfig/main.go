// Command kconfig merges, checks, documents and edits the kernel's configuration
// fragments. Package kernel/kconfig says what those are.
//
// It exits with 1 if a check or an operation fails and with 2 for wrong usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ember-os/ember/kernel/kconfig"
)

const usage = `usage: kconfig COMMAND [FLAGS] FRAGMENT...

  merge    write the fragments as one file for KCONFIG_ALLCONFIG
  check    compare the kernel's resolved configuration with what was asked for
  reasons  check that every option has a reason
  doc      write the options and reasons as Markdown
  save     write what a configuration session changed into the fragments

kconfig COMMAND --help lists the flags of a command.
`

// errUsage is returned after the problem and the usage were printed.
var errUsage = errors.New("usage")

var commands = map[string]func(name string, args []string) error{
	"merge":   merge,
	"check":   check,
	"reasons": reasons,
	"doc":     doc,
	"save":    save,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		fmt.Fprintf(os.Stderr, "kconfig: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
		fmt.Print(usage)
		return nil
	}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprint(os.Stderr, usage)
		return errUsage
	}
	if err := commands[args[0]](args[0], args[1:]); !errors.Is(err, flag.ErrHelp) {
		return err
	}
	return nil
}

// command is the flags of a command and the fragments after them.
type command struct{ *flag.FlagSet }

func newCommand(name string) command {
	return command{flag.NewFlagSet("kconfig "+name, flag.ContinueOnError)}
}

// parse reads the arguments; each flag in required must be given.
func (c command) parse(args []string, required ...string) ([]*kconfig.Fragment, error) {
	if err := c.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, errUsage
	}
	for _, name := range required {
		if c.Lookup(name).Value.String() == "" {
			return nil, c.misuse("--" + name + " is required")
		}
	}
	if c.NArg() == 0 {
		return nil, c.misuse("no fragments given")
	}
	var fragments []*kconfig.Fragment
	for _, name := range c.Args() {
		f, err := readFragment(name)
		if err != nil {
			return nil, err
		}
		fragments = append(fragments, f)
	}
	return fragments, nil
}

func (c command) misuse(problem string) error {
	fmt.Fprintln(c.Output(), problem)
	c.Usage()
	return errUsage
}

func readFragment(name string) (*kconfig.Fragment, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return kconfig.ParseFragment(name, f)
}

func readConfig(name string) (kconfig.Config, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return kconfig.ParseConfig(name, f)
}

// write fills the file, or the standard output if the name is empty.
func write(name string, fill func(io.Writer) error) error {
	if name == "" {
		return fill(os.Stdout)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}

// failed turns a check's problems into an error.
func failed(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%d problems:\n%s", len(problems), strings.Join(problems, "\n"))
}
