// Package containerd prepares the machine for containerd: its configuration, from
// the kernel command line; the place where images and containers are kept; and the
// kernel's settings.
//
// Files that somebody else brought are not touched: only one that is missing, or
// begins with our mark, is written. What can not be done is logged and left out,
// because containerd without a mirror or a disk is better than none; without its
// configuration there is an error. Doing it again changes nothing.
package containerd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/scratch"
)

const usage = `usage: ember containerd-config [--watch]

Writes the configuration of containerd and nerdctl, and prepares the place
where images and containers are kept.

  --watch  says, until it is stopped, when that place is nearly full
`

// Main is the program.
func Main(args []string) int {
	var watches bool
	return cli.Run("ember containerd-config", usage, args, cli.Command{
		Flags: func(f *flag.FlagSet) { f.BoolVar(&watches, "watch", false, "") },
		Run: func(ctx context.Context, args []string) error {
			if err := cli.NoArguments(args); err != nil {
				return err
			}
			config, _, err := cmdline.Read() // init reports the mistakes in it
			if err != nil {
				return err
			}
			m := machine{root: "/", config: config, log: logline.New(os.Stderr, min(config.Log, slog.LevelInfo)), disk: scratch.Mount}
			if watches {
				return m.watch(ctx)
			}
			return m.prepare(ctx)
		},
	})
}

// machine is what is prepared.
type machine struct {
	root   string // "/" but for tests
	config cmdline.Config
	log    *slog.Logger
	// disk mounts a disk: scratch.Mount.
	disk func(ctx context.Context, log *slog.Logger, disk cmdline.Disk, target string) error
}

func (m machine) prepare(ctx context.Context) error {
	m.warn("the kernel keeps its own setting", m.setSysctls()...)
	if err := m.prepareState(ctx); err != nil {
		m.log.Error("images and containers are kept with all other files", "err", err)
	}
	var errs []error
	for _, f := range m.files() {
		if err := m.write(f); err != nil {
			errs = append(errs, err)
		}
	}
	if err := os.MkdirAll(m.path(netConfigDir), 0o755); err != nil {
		errs = append(errs, fmt.Errorf("making the directory of networks: %w", err))
	}
	return errors.Join(errs...)
}

// warn reports what goes on without, with the consequence.
func (m machine) warn(consequence string, errs ...error) {
	for _, err := range errs {
		m.log.Warn(consequence, "err", err)
	}
}
