// Command iso writes GRUB's configuration of an ISO image.
package main

import (
	"context"
	"flag"
	"os"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/iso"
)

const usage = `usage: iso --cmdline LINE --out FILE

Writes grub.cfg, with the kernel command line and the string that Tinkerbell's server
replaces with parameters of its own.
`

func main() {
	os.Exit(cli.Run("iso", usage, os.Args[1:], command()))
}

func command() cli.Command {
	var cmdline, out string
	return cli.Command{Flags: func(f *flag.FlagSet) {
		f.StringVar(&cmdline, "cmdline", "", "")
		f.StringVar(&out, "out", "", "")
	}, Run: func(_ context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		if out == "" {
			return cli.Misuse("--out is needed")
		}
		config, err := iso.Config(cmdline)
		if err != nil {
			return err
		}
		return os.WriteFile(out, config, 0o644)
	}}
}
