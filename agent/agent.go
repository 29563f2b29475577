// Package agent starts Tinkerbell's agent: it fetches the agent's program out of its
// image, runs it as a process of this machine, and does both again for ever.
//
// The image is tink_worker_image, else tink-agent:latest of docker_registry. Without
// either there is nothing to do, and the program ends. ember-fetch, a program of its
// own, fetches through containerd; what it says is wrong goes to the log as one line,
// and it is tried again after 1 s, then after twice as long, up to 30 s. Lines that
// say the same again appear at growing intervals: at the 2nd, 4th, 8th time and so on.
//
// An agent that ends is started again, with the same pauses. Its program is kept: it
// starts without a registry. But one that ran for less than a minute may be the wrong
// one, so the registry is asked for a newer image first, unless the image is named by
// its digest; if that fails too the kept program is started. A program that cannot be
// started at all is fetched anew.
//
// The agent's flags and environment are CaptainOS's. The password of the registry is
// therefore in the agent's command line, where every process of the machine can read
// it, actions in the host's PID namespace included; it is not logged.
//
// tink-worker, the agent's predecessor, is known by its name in the image and takes
// all it needs from the environment. Its actions are run by Docker, which a machine
// must have: it cannot use containerd.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
)

const usage = `usage: ember tink-agent

Fetches Tinkerbell's agent and runs it, for ever. init starts it.
`

const (
	fetchProgram = "ember-fetch"
	directory    = "/run/ember/agent"
)

// Main is the program.
func Main(args []string) int {
	return cli.Run("ember tink-agent", usage, args, cli.Command{Run: run})
}

func run(ctx context.Context, args []string) error {
	if err := cli.NoArguments(args); err != nil {
		return err
	}
	config, _, err := cmdline.Read() // init reports the mistakes in it
	if err != nil {
		return err
	}
	image := imageOf(config.Tinkerbell)
	if image == "" {
		return errors.New("neither " + cmdline.WorkerImageParam + " nor " + cmdline.RegistryParam + " is given, so there is no agent to run")
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return fmt.Errorf("making the agent's directory: %w", err)
	}
	l := launcher{
		config:  config,
		image:   image,
		fetch:   fetchProgram,
		dir:     directory,
		output:  os.Stderr,
		log:     logline.New(os.Stderr, min(config.Log, slog.LevelInfo)),
		network: func() (netstate.State, error) { return netstate.Read(netstate.Path) },
		notify: func(state string) error {
			_, err := daemon.SdNotify(false, state)
			return err
		},
		sleep: sleep,
	}
	l.run(ctx)
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
