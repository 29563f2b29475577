// Package services is `ember services`: what the services of the machine do.
package services

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/ember-os/ember/os/cgroup"
	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/service"
	"github.com/ember-os/ember/os/stage"
	"golang.org/x/sys/unix"
)

// Path is the file of the manager in PID 1.
const Path = "/run/ember/" + service.File

const usage = `usage: ember services [--json] [NAME...]

Prints the units and what they do: each below one that starts it, with its state, the
time since when, its main process, memory, tasks, restarts and last end, what it says
of itself, and what is wrong with its unit files. With names only those, in a list.
".service" may be left out.

The exit status is 0 whatever state the units are in, and 1 for a name that is not known.
`

// Main is the program.
func Main(args []string) int {
	var asJSON bool
	return cli.Run("ember services", usage, args, cli.Command{
		Flags: func(f *flag.FlagSet) { f.BoolVar(&asJSON, "json", false, "") },
		Run: func(_ context.Context, names []string) error {
			return run(os.Stdout, Path, asJSON, isTerminal(os.Stdout), names)
		},
	})
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// unit is a unit with what it uses now.
type unit struct {
	service.Status
	cgroup.Usage
}

func run(w io.Writer, path string, asJSON, colours bool, names []string) error {
	statuses, err := service.ReadStatuses(path)
	if err != nil {
		return err
	}
	units := make([]unit, len(statuses))
	for i, s := range statuses {
		units[i].Status = s
		if s.Cgroup != "" {
			units[i].Usage = cgroup.ReadUsage(s.Cgroup)
		}
	}
	if units, err = choose(units, names); err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(units)
	}
	lines := list(units)
	if len(names) == 0 {
		lines = tree(units)
	}
	return printer{now: stage.Now(), colours: colours}.print(w, lines)
}

// choose takes the units with the given names, all if there are none.
func choose(units []unit, names []string) ([]unit, error) {
	if len(names) == 0 {
		return units, nil
	}
	chosen := make([]unit, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(units, func(u unit) bool { return u.Name == name || u.Name == name+".service" })
		if i < 0 {
			return nil, fmt.Errorf("there is no unit %q", name)
		}
		chosen = append(chosen, units[i])
	}
	return chosen, nil
}
