package networkd

import (
	"context"
	"log/slog"
	"os"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
)

// backlog has room for the routes that a routing daemon writes in one go, which are told to us as to everybody.
const backlog = 4 << 20

const usage = `usage: ember networkd

Brings up the network as the kernel command line says, and keeps it up.
`

// Main is the program. It needs the privileges of root.
func Main(args []string) int {
	return cli.Run("ember networkd", usage, args, cli.Command{Run: run})
}

func run(ctx context.Context, args []string) error {
	if err := cli.NoArguments(args); err != nil {
		return err
	}
	c, _, err := cmdline.Read() // PID 1 reports the mistakes
	if err != nil {
		return err
	}
	log := logline.New(os.Stderr, min(c.Log, slog.LevelInfo))
	return Run(ctx, Config{
		HWAddr: c.HWAddr, Interface: c.Interface, VLAN: c.VLAN, IPAM: c.IPAM, Bonds: c.Bonds,
		Root:     "/",
		Physical: IsPhysical,
		Backlog:  backlog,
		Notify: func(state string) {
			if _, err := sd.SdNotify(false, state); err != nil {
				log.Warn("telling the service manager", "err", err)
			}
		},
		Log: log,
	})
}
