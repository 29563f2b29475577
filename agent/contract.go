package agent

import (
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/netstate"
)

const (
	defaultRegistry  = "ghcr.io/tinkerbell"
	containerdSocket = "/run/containerd/containerd.sock"
)

// paths is where images of the agent have had its program, the newest first.
var paths = []string{"/tink-agent", "/usr/bin/tink-agent", "/usr/local/bin/tink-agent", "/usr/bin/tink-worker"}

// imageOf is the agent's image; "" if none is asked for.
func imageOf(t cmdline.Tinkerbell) string {
	if t.WorkerImage != "" || t.Registry == "" {
		return t.WorkerImage
	}
	return t.Registry + "/tink-agent:latest"
}

// mutable tells whether the image of that name may be another one tomorrow.
func mutable(image string) bool { return !strings.Contains(image, "@") }

// registryOf is the registry that the agent is told of.
func registryOf(t cmdline.Tinkerbell) string {
	if t.Registry == "" {
		return defaultRegistry
	}
	return t.Registry
}

// identity is the agent's name for Tinkerbell, and, if the command line does not
// give it, what it is instead.
func identity(c cmdline.Config, network func() (netstate.State, error)) (id, instead string, err error) {
	if c.Tinkerbell.WorkerID != "" {
		return c.Tinkerbell.WorkerID, "", nil
	}
	if c.HWAddr != nil {
		return c.HWAddr.String(), "the address of the card that the machine was booted from", nil
	}
	s, err := network()
	if err != nil {
		return "", "", err
	}
	for _, l := range s.Links {
		if l.Name == s.Link && l.MAC != "" {
			return l.MAC, "the address of " + l.Name, nil
		}
	}
	return "", "", errors.New("the agent has no name for Tinkerbell: give worker_id or hw_addr")
}

// arguments is the agent's, without those that would be empty.
func arguments(t cmdline.Tinkerbell, id string) []string {
	args := []string{"-runtime", "containerd", "-containerd-socket", containerdSocket, "-transport", "grpc"}
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	add("-grpc-server", t.GRPCAuthority)
	args = append(args, "-grpc-tls="+strconv.FormatBool(t.TLS), "-grpc-insecure-tls="+strconv.FormatBool(t.InsecureTLS))
	add("-id", id)
	add("-registry-name", registryOf(t))
	add("-registry-user", t.RegistryUsername)
	add("-registry-pass", t.RegistryPassword)
	return args
}

// environment is base, which has the proxies, with the variables of the agent.
func environment(base []string, t cmdline.Tinkerbell, id string) []string {
	env := slices.Clone(base)
	add := func(name, value string) {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	add("TINKERBELL_GRPC_AUTHORITY", t.GRPCAuthority)
	add("WORKER_ID", id)
	add("TINKERBELL_TLS", strconv.FormatBool(t.TLS))
	add("TINKERBELL_INSECURE_TLS", strconv.FormatBool(t.InsecureTLS))
	add("DOCKER_REGISTRY", registryOf(t))
	add("REGISTRY_USERNAME", t.RegistryUsername)
	add("REGISTRY_PASSWORD", t.RegistryPassword)
	return env
}

// isWorker tells whether the program at name in an image is tink-worker.
func isWorker(name string) bool { return path.Base(name) == "tink-worker" }

// workerEnvironment is environment for tink-worker, which has no flags from us: its
// versions know different ones.
func workerEnvironment(base []string, t cmdline.Tinkerbell, id string) []string {
	return append(environment(base, t, id), "ID="+id)
}

// inherited is our environment but for what init means for us alone.
func inherited() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") })
}
