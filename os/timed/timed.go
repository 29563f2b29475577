// Package timed is the daemon that sets the clock by NTP (RFC 5905, as a client
// only) and keeps it right.
//
// It waits for the network, asks the servers that DHCP or ipam name, else those of
// the command line, and steps the clock by any amount: no clock is too wrong to be
// set. A time before the date of this build is never believed. Then, or when it is
// known that this does not work now, it tells init that it is ready. After that it
// asks for ever, more and more seldom, and has the kernel steer the clock.
//
// Of several servers it believes the one with which most agree. It does without the
// filters of RFC 5905 that compare many answers of one server, and without
// authentication: whoever is between a machine and its server can set its clock,
// though not to before the build.
package timed

import (
	"context"
	"log/slog"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/clock"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/version"
)

const usage = `usage: ember timed

Sets the clock by NTP and keeps it right. init starts it.
`

// Main is the program.
func Main(args []string) int {
	return cli.Run("ember timed", usage, args, cli.Command{Run: run})
}

func run(ctx context.Context, args []string) error {
	if err := cli.NoArguments(args); err != nil {
		return err
	}
	config, _, err := cmdline.Read() // PID 1 reports the mistakes
	if err != nil {
		return err
	}
	log := logline.New(os.Stderr, min(config.Log, slog.LevelInfo))
	changed, err := netstate.Watch(ctx, netstate.Path)
	if err != nil {
		return err
	}
	c := client{built: version.Built(), lookup: net.DefaultResolver.LookupNetIP, dial: new(net.Dialer).DialContext}
	k := keeper{
		log:      log,
		clock:    clock.System{},
		network:  func() (netstate.State, error) { return netstate.Read(netstate.Path) },
		changed:  changed,
		fallback: config.NTP,
		off:      config.NTPOff,
		ask:      c.ask,
		publish:  func(s State) error { return s.write(Path) },
		notify: func(state string) error {
			_, err := daemon.SdNotify(false, state)
			return err
		},
	}
	k.run(ctx)
	return nil
}
