// Command kconfig merges the kernel's configuration fragments, and saves into them what
// was changed in the menu. Package kernel/kconfig says what those are.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"

	"github.com/ember-os/ember/kernel/kconfig"
	"github.com/ember-os/ember/os/cli"
)

const usage = `usage:
  kconfig merge [--out FILE] FRAGMENT...
  kconfig save --before FILE --after FILE --source DIR [--arch x86] [--to FRAGMENT] FRAGMENT...

merge writes the fragments as one file for KCONFIG_ALLCONFIG, or the standard output.
save writes what a session of the menu changed into the fragments, new options into
--to, or else the first one.
`

func main() { os.Exit(cli.Run("kconfig", usage, os.Args[1:], commands()...)) }

func commands() []cli.Command {
	return []cli.Command{mergeCommand(), saveCommand()}
}

// command is one that reads fragments. Each of the flags in required must be given.
func command(name string, flags func(*flag.FlagSet), run func([]*kconfig.Fragment) error, required ...string) cli.Command {
	var set *flag.FlagSet
	return cli.Command{Name: name, Flags: func(f *flag.FlagSet) {
		set = f
		flags(f)
	}, Run: func(_ context.Context, paths []string) error {
		for _, name := range required {
			if set.Lookup(name).Value.String() == "" {
				return cli.Misuse("--%s is needed", name)
			}
		}
		if len(paths) == 0 {
			return cli.Misuse("fragments are needed")
		}
		var fragments []*kconfig.Fragment
		for _, path := range paths {
			f, err := readFragment(path)
			if err != nil {
				return err
			}
			fragments = append(fragments, f)
		}
		return run(fragments)
	}}
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
