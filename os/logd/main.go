// Package logd is the log daemon. It reads what all units print, through the FIFOs
// of package output, and the kernel's log; stamps each line with the time since
// kernel start (the kernel's lines have their own stamp); keeps them for "ember
// log" (see package logs); sends them to a syslog collector, if there is one; and
// shows those of some units on the consoles.
//
// If the daemon crashes, nothing is lost that is still in the FIFOs or in the
// kernel's log: the next one goes on there, and sends again what the collector may
// not have got, as far as it is still kept. Lost is what was read but not stored:
// the lines of one read of each unit, and a line that was half read.
//
// Secrets of the kernel command line are replaced by "***" before a line goes
// anywhere.
package logd

import (
	"context"
	"log/slog"
	"os"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/console"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/logs"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/output"
	"github.com/ember-os/ember/os/syslog"
)

const usage = `usage: ember logd

The log daemon: keeps and forwards what all units and the kernel print. It reads
its configuration from the kernel command line.
`

// Main is the program "ember logd".
func Main(args []string) int {
	return cli.Run("ember logd", usage, args, cli.Command{Run: func(ctx context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		config, _, err := cmdline.Read() // PID 1 reports the mistakes
		if err != nil {
			return err
		}
		return newDaemon(config).run(ctx)
	}})
}

func newDaemon(config cmdline.Config) *daemon {
	d := &daemon{output: output.Dir, kmsg: "/dev/kmsg", store: logs.Dir, console: console.RelayPath, storeLimit: logs.Limit,
		secrets: config.Secrets(), level: config.Log, log: logline.New(os.Stderr, slog.LevelInfo)}
	if s := config.Syslog; s.Host != "" {
		d.sender = syslog.New(syslog.Collector(s), newHostname(netstate.Path), d.log)
	}
	return d
}
