package containerd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/google/renameio/v2"
)

// mark is the first line of our files.
const mark = "# Written by ember containerd-config. Without this line it leaves the file alone.\n"

// file is a file that we write.
type file struct {
	path string
	text string // behind the mark
	mode os.FileMode
}

// write writes the file, unless somebody else brought one.
func (m machine) write(f file) error {
	path, text := m.path(f.path), []byte(mark+f.text)
	old, err := os.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(old, text):
		return nil
	case err == nil && !bytes.HasPrefix(old, []byte(mark)):
		m.log.Info("leaving a file alone", "file", f.path)
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("reading the configuration: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	if err := renameio.WriteFile(path, text, f.mode, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}

func (m machine) path(name ...string) string {
	return filepath.Join(append([]string{m.root}, name...)...)
}

// Where other programs look for things.
const (
	hostsDir     = "/etc/containerd/certs.d"
	netConfigDir = "/etc/cni/net.d"
	pluginDir    = "/opt/cni/bin"
	stateDir     = "/var/lib/containerd"
	nerdctlDir   = "/var/lib/nerdctl"
)

// daemonConfig is containerd's configuration as far as it is not containerd's
// default, or a default that other programs rely on. Version 3 is for all of
// containerd 2. The runtime's default is cgroups without systemd.
func daemonConfig(c cmdline.Config) string {
	without := ""
	if c.EffectiveWorkload() == cmdline.WorkloadTinkerbell {
		without = withoutCRI
	}
	return daemonTop + without + daemonTables
}

const daemonTop = `# Files in conf.d can change all of it but disabled_plugins, to which they can only add.
version = 3
root = "` + stateDir + `"
state = "/run/containerd"
imports = ["/etc/containerd/conf.d/*.toml"]
`

// withoutCRI is for machines without a kubelet. CRI starts the shim and runc to
// see what they can do, which is half of the time until containerd is ready.
const withoutCRI = `disabled_plugins = ["io.containerd.grpc.v1.cri"]
`

const daemonTables = `
[debug]
level = "warn"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "` + hostsDir + `"

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["` + pluginDir + `"]
conf_dir = "` + netConfigDir + `"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
`

// files is all files, for the command line.
func (m machine) files() []file {
	return append([]file{
		{"/etc/containerd/config.toml", daemonConfig(m.config), 0o644},
		{"/etc/nerdctl/nerdctl.toml", clientConfig(m.config), 0o644},
	}, hostsFiles(m.config)...)
}

// clientConfig is nerdctl's configuration. It takes a machine for one with systemd
// if there are units in /run. The namespace is that of the agent's actions, where
// there is an agent.
func clientConfig(c cmdline.Config) string {
	namespace := "default"
	if c.EffectiveWorkload() == cmdline.WorkloadTinkerbell {
		namespace = "tinkerbell"
	}
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s = %s\n", key, value) }
	set("address", quote("unix:///run/containerd/containerd.sock"))
	set("namespace", quote(namespace))
	set("snapshotter", quote("overlayfs"))
	set("cgroup_manager", quote("cgroupfs"))
	set("data_root", quote(nerdctlDir))
	set("cni_path", quote(pluginDir))
	set("cni_netconfpath", quote(netConfigDir))
	set("hosts_dir", list(hostsDir))
	set("disable_hc_systemd", "true")
	return b.String()
}
