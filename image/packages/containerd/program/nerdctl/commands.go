package nerdctl

import (
	"fmt"
	"os"

	"github.com/containerd/nerdctl/v2/cmd/nerdctl/helpers"
	"github.com/containerd/nerdctl/v2/pkg/clientutil"
	"github.com/containerd/nerdctl/v2/pkg/formatter"
	"github.com/containerd/nerdctl/v2/pkg/infoutil"
	"github.com/containerd/nerdctl/v2/pkg/inspecttypes/dockercompat"
	"github.com/containerd/nerdctl/v2/pkg/ocihook"
	"github.com/spf13/cobra"
)

// internalCommand returns `nerdctl internal oci-hook EVENT`, which runc calls when it makes and removes
// a container of nerdctl's, to connect it to its networks.
func internalCommand() *cobra.Command {
	internal := &cobra.Command{Use: "internal", Short: "For nerdctl's own use", Hidden: true, SilenceUsage: true, SilenceErrors: true}
	internal.AddCommand(&cobra.Command{
		Use:           "oci-hook EVENT",
		Short:         "Connects a container to its networks",
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := helpers.ProcessRootCmdFlags(cmd)
			if err != nil {
				return err
			}
			state, err := clientutil.DataStore(o.DataRoot, o.Address)
			if err != nil {
				return err
			}
			return ocihook.Run(os.Stdin, os.Stderr, args[0], state, o.CNIPath, o.CNINetConfPath, o.BridgeIP)
		},
	})
	return internal
}

// versionCommand returns `nerdctl version`, which asks containerd for its version too.
func versionCommand() *cobra.Command {
	version := &cobra.Command{
		Use:           "version",
		Short:         "Show the versions of nerdctl and containerd",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	format := version.Flags().StringP("format", "f", "", "a Go template, or json")
	version.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := helpers.ProcessRootCmdFlags(cmd)
		if err != nil {
			return err
		}
		info := dockercompat.VersionInfo{Client: infoutil.ClientVersion()}
		client, ctx, cancel, fault := clientutil.NewClient(cmd.Context(), o.Namespace, o.Address)
		if fault == nil {
			defer cancel()
			info.Server, fault = infoutil.ServerVersion(ctx, client)
		}
		if err := printVersion(cmd, info, *format); err != nil {
			return err
		}
		return fault
	}
	return version
}

func printVersion(cmd *cobra.Command, info dockercompat.VersionInfo, format string) error {
	if format != "" {
		t, err := formatter.ParseTemplate(format)
		if err != nil {
			return err
		}
		if err := t.Execute(cmd.OutOrStdout(), info); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout())
		return nil
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "Client:\n Version:\t%s\n OS/Arch:\t%s/%s\n", info.Client.Version, info.Client.Os, info.Client.Arch)
	if info.Server == nil {
		return nil
	}
	fmt.Fprintln(out, "\nServer:")
	for _, c := range info.Server.Components {
		fmt.Fprintf(out, " %s:\t%s\n", c.Name, c.Version)
	}
	return nil
}
