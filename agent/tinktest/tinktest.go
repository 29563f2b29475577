// Package tinktest is a Tinkerbell for tests, of real parts: the server speaks
// Tinkerbell's protocol, the registries hold the real agent's image, and a
// machine is told of them with the kernel parameters of Tinkerbell's
// network-boot server.
//
//	site := tinktest.Start(t, l, tinktest.Options{
//		Host:     netip.MustParseAddr("10.0.1.1"), // the lab's in the LAN boot
//		Workflow: tinktest.Workflow{Agent: nic.MAC, Actions: []tinktest.Action{{Image: images.Say, Env: []string{"TEXT=hello"}}}},
//	})
//	c.Append = site.Netboot(nic.MAC).CommandLine()
//	c.Overlay = append(c.Overlay, vm.File{Path: tinktest.TrustedCA, Data: string(l.CA())})
//	vmtest.Start(t, c)
//	site.Server.Connected(nic.MAC)
//	state := site.Server.Ended()
//
// Two things of the agent of Tinkerbell v0.23 decide how a site is made. With
// containerd it reads no registry configuration and no credentials: it pulls
// actions over HTTPS from registries that let everyone in and whose authority
// the machine trusts (and over plain HTTP from 127.0.0.1). And its protocol has the PID namespace of an action in it
// but not the network's: see images.FetchHost.
package tinktest

import (
	"net"
	"net/netip"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/agent/tinktest/registry"
	"github.com/ember-os/ember/os/vm/vmtest"
)

const (
	// patience bounds each wait. It is for what hangs.
	patience    = 5 * time.Minute
	shownEvents = 30

	// TrustedCA is where a machine has authorities that it shall trust, from its root.
	TrustedCA = "etc/ssl/ember.d/tinktest.pem"
	// AgentImage is the agent's name in the registry Agents.
	AgentImage = "tinkerbell/tink-agent:latest"

	serverPort  = "42113"
	agentsPort  = "5000"
	actionsPort = "5443"
)

// Files that a site is made of, named by environment variables as vmtest.File
// has it.
const (
	ServerEnv  = "TINKSERVER"  // //agent/tinktest/server:tinkserver
	AgentEnv   = "TINK_AGENT"  // //agent/tinktest/server:tink-agent
	BusyboxEnv = "BUSYBOX"     // //image/packages/busybox:program
	WorkerEnv  = "TINK_WORKER" // //agent/tinktest/worker:tink-worker, which a site itself does not need
)

// Network is where a site serves. A *lab.Network is one.
type Network interface {
	Listen(network, address string) (net.Listener, error)
	// Certificate names the files with a certificate for the network's addresses, and its key.
	Certificate() (cert, key string)
}

// TestNetwork is the Network of a test. A *lab.Lab is one.
type TestNetwork interface {
	Listen(network, address string) net.Listener
	Certificate() (cert, key string)
}

// failing makes a Network of one that has the test fail.
type failing struct{ TestNetwork }

func (n failing) Listen(network, address string) (net.Listener, error) {
	return n.TestNetwork.Listen(network, address), nil
}

// Action is an action of a workflow.
type Action struct {
	Name    string        // the image's if empty
	Image   string        // an action of package images, or a reference with a slash
	Env     []string      // NAME=VALUE
	Command []string      // in place of the image's
	Volumes []string      // SOURCE:TARGET
	PID     string        // "host" for the machine's namespace
	Timeout time.Duration // patience if 0
}

// Workflow is what one machine has to do.
type Workflow struct {
	Agent   string // the agent's ID
	Actions []Action
	// Timeout is what the workflow has from the start of its first action, for ever if 0. A workflow
	// whose agent died in the middle of an action ends only so.
	Timeout time.Duration
}

// Options describe a site.
type Options struct {
	Host     netip.Addr // at which it serves
	Workflow Workflow
	TLS      bool // the server's, with the network's certificate
	// Agents is how the registry of the agent's image serves.
	Agents registry.Options
	// AgentTLS makes that registry serve with the network's certificate.
	AgentTLS bool
	// AnyPort makes it serve at ports that are free, not at those that are always the same.
	AnyPort bool
}

// Site is the Tinkerbell of a test.
type Site struct {
	*Tinkerbell
	Server *Server
}

// Start starts a site that ends with the test.
func Start(t testing.TB, network TestNetwork, o Options) *Site {
	t.Helper()
	programs := Programs{vmtest.File(t, ServerEnv), vmtest.File(t, AgentEnv), vmtest.File(t, BusyboxEnv)}
	k, err := Open(t.Context(), failing{network}, programs, t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close()
		if t.Failed() {
			t.Log(k.Process.tail())
		}
	})
	return &Site{k, &Server{k.Process, t}}
}

// Push puts another image into the store, under a name without a host.
func (s *Site) Push(t testing.TB, name string, description images.Image) v1.Hash {
	t.Helper()
	image, err := description.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store.Push(name, image); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// Give has the server start again with another workflow, of which nothing is done. An
// action needs a name that no action of the machine had before, or the agent takes
// what that one has left for its own.
func (s *Site) Give(w Workflow) {
	s.Server.t.Helper()
	s.options.Workflow = w
	if err := s.Process.give(s.document()); err != nil {
		s.Server.t.Fatalf("giving Tinkerbell's server another workflow: %v", err)
	}
	s.Server.Start()
}
