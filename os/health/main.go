package health

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/cmdline"
)

const usage = `usage: ember health [--json]

Looks whether this node is healthy: its services, the commands in ` + Commands + `,
its node in Kubernetes if ` + Config + ` names a kubeconfig, and the connection of
Tinkerbell's agent if that is what the machine is for. Prints a line for each.

The exit status is 0 if all are well, and 1 if not.
`

// Main is the program.
func Main(args []string) int {
	var asJSON bool
	return cli.Run("ember health", usage, args, cli.Command{
		Flags: func(f *flag.FlagSet) { f.BoolVar(&asJSON, "json", false, "") },
		Run: func(ctx context.Context, args []string) error {
			if err := cli.NoArguments(args); err != nil {
				return err
			}
			config, _, err := cmdline.Read() // init reports the mistakes in it
			if err != nil {
				return err
			}
			for _, variable := range config.ProxyEnviron() { // which services have, and shells have not
				name, value, _ := strings.Cut(variable, "=")
				if err := os.Setenv(name, value); err != nil {
					return err
				}
			}
			return show(os.Stdout, Look(ctx, Options{Config: config}), asJSON)
		},
	})
}

func show(w io.Writer, r Report, asJSON bool) error {
	var err error
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		for _, c := range r.Checks {
			mark := "well"
			if !c.Healthy {
				mark = "NOT WELL"
			}
			fmt.Fprintf(w, "%-8s  %s\n", mark, c)
		}
	}
	if err == nil && !r.Healthy {
		err = errors.New("the node is not healthy")
	}
	return err
}
