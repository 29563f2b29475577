package unit

import (
	"context"
	"flag"
	"os"

	"github.com/ember-os/ember/os/cli"
)

const usage = `usage: ember units [--root DIR] [NAME...]

Prints the named units and all that they require and want, as JSON; without names
those of multi-user.target.

  --root DIR  the unit files are those under DIR
`

// Main is the program "ember units".
func Main(args []string) int {
	root := ""
	return cli.Run("ember units", usage, args, cli.Command{
		Flags: func(f *flag.FlagSet) { f.StringVar(&root, "root", "", "") },
		Run: func(_ context.Context, names []string) error {
			if len(names) == 0 {
				names = []string{"multi-user.target"}
			}
			for _, name := range names {
				if err := checkName(name); err != nil {
					return cli.Misuse("%v", err)
				}
			}
			return Encode(os.Stdout, Load(root, names...))
		},
	})
}
