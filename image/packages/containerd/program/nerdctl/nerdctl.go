// Package nerdctl is nerdctl's command line, put together of nerdctl's own commands: its main
// package cannot be imported, and neither can the command that a container's hooks call.
//
// Names and meanings of flags are nerdctl's. What is left out is what only a user without root
// needs, and storing images on IPFS.
package nerdctl

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/log"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/apparmor"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/builder"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/checkpoint"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/compose"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/container"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/helpers"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/image"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/inspect"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/login"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/manifest"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/namespace"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/network"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/system"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/volume"
	"github.com/containerd/nerdctl/v2/pkg/errutil"
	"github.com/containerd/nerdctl/v2/pkg/logging"
	"github.com/containerd/nerdctl/v2/pkg/store"
	"github.com/containerd/nerdctl/v2/pkg/version"
	"github.com/spf13/cobra"
)

// Run runs nerdctl with os.Args, as the program or as what writes a container's log. A container's
// exit status becomes that of the process.
func Run(ctx context.Context) error {
	if len(os.Args) == 3 && os.Args[1] == logging.MagicArgv1 {
		return logging.Main(os.Args[2])
	}
	root, err := New()
	if err != nil {
		return err
	}
	err = root.ExecuteContext(ctx)
	errutil.HandleExitCoder(err)
	return err
}

// New returns the root command.
func New() (*cobra.Command, error) {
	root := &cobra.Command{
		Use:               "nerdctl",
		Short:             "containers of containerd, by Docker's command line",
		Version:           strings.TrimPrefix(version.GetVersion(), "v"),
		RunE:              helpers.UnknownSubcommandAction,
		PersistentPreRunE: prepare,
		SilenceUsage:      true,
		SilenceErrors:     true,
		TraverseChildren:  true, // or -a, -H and -n are not seen before a subcommand
	}
	short, err := addFlags(root)
	if err != nil {
		return nil, err
	}
	root.AddCommand(
		container.AttachCommand(), container.CommitCommand(), container.CreateCommand(), container.DiffCommand(),
		container.ExecCommand(), container.ExportCommand(), container.HealthCheckCommand(), container.KillCommand(),
		container.LogsCommand(), container.PauseCommand(), container.PortCommand(), container.PsCommand(),
		container.RemoveCommand(), container.RenameCommand(), container.RestartCommand(), container.RunCommand(),
		container.StartCommand(), container.StatsCommand(), container.StopCommand(), container.TopCommand(),
		container.UnpauseCommand(), container.UpdateCommand(), container.WaitCommand(),
		image.HistoryCommand(), image.ImagesCommand(), image.ImportCommand(), image.LoadCommand(), image.PullCommand(),
		image.PushCommand(), image.RmiCommand(), image.SaveCommand(), image.TagCommand(),
		builder.BuildCommand(), inspect.Command(), login.Command(), login.LogoutCommand(),
		system.EventsCommand(), system.InfoCommand(), versionCommand(), internalCommand(),

		apparmor.Command(), builder.Command(), checkpoint.Command(), compose.Command(), container.Command(),
		image.Command(), manifest.Command(), namespace.Command(), network.Command(), system.Command(), volume.Command(),
	)
	container.AddCpCommand(root)
	for _, c := range root.Commands() {
		c.InheritedFlags().AddFlagSet(short)
	}
	return root, nil
}

// prepare checks what every command relies on.
func prepare(cmd *cobra.Command, _ []string) error {
	o, err := helpers.ProcessRootCmdFlags(cmd)
	if err != nil {
		return err
	}
	if o.Debug || o.DebugFull {
		log.SetLevel(log.DebugLevel.String())
	}
	if scheme, _, ok := strings.Cut(o.Address, "://"); ok && scheme != "unix" {
		return fmt.Errorf("containerd's address %q is not a unix socket", o.Address)
	}
	switch o.CgroupManager {
	case "cgroupfs", "none", "systemd":
	default:
		return fmt.Errorf("cgroup manager %q: want cgroupfs, systemd or none", o.CgroupManager)
	}
	return store.IsFilesystemSafe(o.Namespace) // it becomes a folder's name
}
