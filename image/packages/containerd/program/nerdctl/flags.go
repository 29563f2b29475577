package nerdctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/containerd/nerdctl/v2/cmd/nerdctl/completion"
	"github.com/containerd/nerdctl/v2/cmd/nerdctl/helpers"
	"github.com/containerd/nerdctl/v2/pkg/config"
	"github.com/containerd/nerdctl/v2/pkg/defaults"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// configuration reads the file that $NERDCTL_TOML names, or the usual one, which may be missing.
func configuration() (*config.Config, error) {
	path := defaults.NerdctlTOML()
	if p, ok := os.LookupEnv("NERDCTL_TOML"); ok {
		path = p
	}
	c := config.New()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := toml.NewDecoder(f).DisallowUnknownFields().Decode(c); err != nil {
		return nil, fmt.Errorf("reading nerdctl's configuration %s: %w", path, err)
	}
	return c, nil
}

// addFlags adds the flags of every command. Those that it returns have names of one letter, which a
// command may have for something else.
func addFlags(root *cobra.Command) (*pflag.FlagSet, error) {
	c, err := configuration()
	if err != nil {
		return nil, err
	}
	short := pflag.NewFlagSet("nerdctl", pflag.ContinueOnError)
	text := func(name string, aliases, persistent []string, value, env, usage string) {
		helpers.AddPersistentStringFlag(root, name, aliases, nil, persistent, short, value, env, usage)
	}
	text("address", []string{"a", "H"}, []string{"host"}, c.Address, "CONTAINERD_ADDRESS", "containerd's socket")
	text("namespace", []string{"n"}, nil, c.Namespace, "CONTAINERD_NAMESPACE", "containerd's namespace; Kubernetes has k8s.io")
	text("snapshotter", nil, []string{"storage-driver"}, c.Snapshotter, "CONTAINERD_SNAPSHOTTER", "what makes containers' file systems")
	text("cni-path", nil, nil, c.CNIPath, "CNI_PATH", "folder of CNI plugins")
	text("cni-netconfpath", nil, nil, c.CNINetConfPath, "NETCONFPATH", "folder of CNI configurations")
	text("host-gateway-ip", nil, nil, c.HostGatewayIP, "NERDCTL_HOST_GATEWAY_IP", "what host-gateway stands for in --add-host")
	text("bridge-ip", nil, nil, c.BridgeIP, "NERDCTL_BRIDGE_IP", "address and prefix of the bridge network's host side")
	helpers.AddPersistentBoolFlag(root, "experimental", nil, nil, c.Experimental, "NERDCTL_EXPERIMENTAL", "allow nerdctl's experimental features")

	f := root.PersistentFlags()
	f.Bool("debug", c.Debug, "log more")
	f.Bool("debug-full", c.DebugFull, "log all")
	f.Bool("insecure-registry", c.InsecureRegistry, "accept any certificate, and plain HTTP")
	f.Bool("kube-hide-dupe", c.KubeHideDupe, "show an image of Kubernetes once")
	f.String("cgroup-manager", c.CgroupManager, "cgroupfs, systemd or none")
	f.String("data-root", c.DataRoot, "nerdctl's own folder")
	f.String("userns-remap", c.UsernsRemap, "user whose subordinate ids containers get")
	f.StringSlice("hosts-dir", c.HostsDir, "folders with a folder for each registry: HOST:PORT/hosts.toml")
	f.StringSlice("cdi-spec-dirs", c.CDISpecDirs, "folders of CDI device descriptions")
	helpers.HiddenPersistentStringArrayFlag(root, "global-dns", c.DNS, "name servers of containers")
	helpers.HiddenPersistentStringArrayFlag(root, "global-dns-opts", c.DNSOpts, "resolver options of containers")
	helpers.HiddenPersistentStringArrayFlag(root, "global-dns-search", c.DNSSearch, "search domains of containers")

	return short, errors.Join(
		root.RegisterFlagCompletionFunc("namespace", completion.NamespaceNames),
		root.RegisterFlagCompletionFunc("snapshotter", completion.SnapshotterNames),
		root.RegisterFlagCompletionFunc("storage-driver", completion.SnapshotterNames),
		root.RegisterFlagCompletionFunc("cgroup-manager", completion.CgroupManagerNames),
	)
}
