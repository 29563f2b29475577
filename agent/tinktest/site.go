package tinktest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"

	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/agent/tinktest/registry"
)

// Programs are the files that a Tinkerbell is made of.
type Programs struct {
	Server  string // tinkserver
	Agent   string // tink-agent
	Busybox string // for the actions
}

// Tinkerbell is one that serves until Close.
type Tinkerbell struct {
	Process *Process
	Agents  *registry.Registry // has AgentImage
	Actions *registry.Registry // with TLS, for everyone
	Store   *registry.Store    // of both
	network Network
	options Options
}

// Open starts a Tinkerbell, whose server keeps its state in the directory dir.
func Open(ctx context.Context, network Network, programs Programs, dir string, o Options) (*Tinkerbell, error) {
	k := &Tinkerbell{Store: registry.NewStore(), network: network, options: o}
	err := k.fill(programs)
	if err != nil {
		return nil, fmt.Errorf("filling the registries: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(network.Certificate())
	if err != nil {
		return nil, fmt.Errorf("reading the network's certificate: %w", err)
	}
	agents := o.Agents
	if o.AgentTLS {
		agents.TLS = &pair
	}
	if k.Agents, err = k.registry(agentsPort, agents); err != nil {
		return nil, err
	}
	if k.Actions, err = k.registry(actionsPort, registry.Options{TLS: &pair}); err != nil {
		k.Agents.GoAway()
		return nil, err
	}
	k.Process, err = newProcess(network, k.at(serverPort), programs.Server, dir, o.TLS, k.document())
	if err == nil {
		err = k.Process.Start(ctx)
	}
	if err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

func (k *Tinkerbell) registry(port string, o registry.Options) (*registry.Registry, error) {
	l, err := k.network.Listen("tcp", k.at(port))
	if err != nil {
		return nil, fmt.Errorf("starting a registry: %w", err)
	}
	return registry.New(k.Store, l, o), nil
}

// Close ends the server and the registries; from then on connections are refused.
func (k *Tinkerbell) Close() {
	if k.Process != nil {
		k.Process.Stop()
	}
	k.Agents.GoAway()
	k.Actions.GoAway()
}

// ComeBack has all of it serve again after Close, at the same addresses. The workflow is where it was.
func (k *Tinkerbell) ComeBack(ctx context.Context) error {
	for _, r := range []*registry.Registry{k.Agents, k.Actions} {
		l, err := k.network.Listen("tcp", r.Address())
		if err != nil {
			return fmt.Errorf("starting a registry: %w", err)
		}
		r.ComeBack(l)
	}
	return k.Process.Start(ctx)
}

func (k *Tinkerbell) at(port string) string {
	if k.options.AnyPort {
		port = "0"
	}
	return net.JoinHostPort(k.options.Host.String(), port)
}

// fill puts the agent and the actions into the store.
func (k *Tinkerbell) fill(programs Programs) error {
	agent, err := os.ReadFile(programs.Agent)
	if err != nil {
		return err
	}
	busybox, err := os.ReadFile(programs.Busybox)
	if err != nil {
		return err
	}
	all := map[string]images.Image{AgentImage: images.Agent(agent, images.AgentPath)}
	for _, name := range images.ActionNames() {
		all[actionImage(name)] = images.Action(busybox, name)
	}
	for name, description := range all {
		image, err := description.Build()
		if err != nil {
			return err
		}
		if err := k.Store.Push(name, image); err != nil {
			return err
		}
	}
	return nil
}

func actionImage(name string) string { return "actions/" + name + ":v1" }

// Netboot is what the network-boot server tells the machine of the workflow,
// with the agent's image among what its operator adds.
func (k *Tinkerbell) Netboot(mac string) Netboot {
	return Netboot{
		MAC: mac, WorkerID: k.options.Workflow.Agent, Authority: k.Process.Address(), TLS: k.options.TLS,
		Initrd: "initramfs-x86_64",
		Extra:  append([]string{"tink_worker_image=" + k.Agents.Address() + "/" + AgentImage}, k.registryWords()...),
	}
}

func (k *Tinkerbell) registryWords() []string {
	var words []string
	if !k.options.AgentTLS {
		words = append(words, "insecure_registries="+k.Agents.Address())
	}
	if a := k.options.Agents; a.User != "" {
		words = append(words, "registry_username="+a.User, "registry_password="+a.Password)
	}
	return words
}
