// Ember is every program of ours in one: its first argument, or the name it is
// called by, says which.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/agent"
	"github.com/ember-os/ember/os/attest"
	"github.com/ember-os/ember/os/boot"
	"github.com/ember-os/ember/os/bootreason"
	"github.com/ember-os/ember/os/containerd"
	"github.com/ember-os/ember/os/executor"
	"github.com/ember-os/ember/os/health"
	"github.com/ember-os/ember/os/logd"
	"github.com/ember-os/ember/os/logs"
	"github.com/ember-os/ember/os/lsblk"
	"github.com/ember-os/ember/os/networkd"
	"github.com/ember-os/ember/os/pid1"
	"github.com/ember-os/ember/os/services"
	"github.com/ember-os/ember/os/status"
	"github.com/ember-os/ember/os/timed"
	"github.com/ember-os/ember/os/trust"
	"github.com/ember-os/ember/os/unit"
	"github.com/ember-os/ember/os/version"
)

// program is one of the programs. It gets the arguments behind its name and
// returns the exit status.
type program struct {
	name, summary string
	run           func(args []string) int
}

var programs = []program{
	{"services", "show the services and their states", services.Main},
	{"log", "show what services and the kernel printed", logs.Main},
	{"status", "show what this machine is and how it is", status.Main},
	{"health", "look whether this node is healthy", health.Main},
	{"lsblk", "list the block devices", lsblk.Main},
	{"version", "print the version", printVersion},

	{"init", "bring up the machine; only the kernel calls it, as PID 1", refuseInit},
	{"units", "read unit files, for init", unit.Main},
	{"exec", "become a service, for init", executor.Main},
	{"reboot-reason", "keep the reason of a reboot, for init", bootreason.Main},
	{"logd", "keep and send the log", logd.Main},
	{"networkd", "configure the network", networkd.Main},
	{"timed", "keep the clock right", timed.Main},
	{"tink-agent", "fetch Tinkerbell's agent and run it", agent.Main},
	{"containerd-config", "prepare the machine for containerd", containerd.Main},
	{"attest", "prove what this machine is, and get its configuration", attest.Main},
	{"boot", "lead the machine to a healthy node, and keep what did so", boot.Main},
	{"trust", "trust the certificate authorities in /etc/ssl/ember.d", trust.Main},
}

const usageStatus = 2

func main() { os.Exit(run(os.Args, os.Getpid())) }

func run(args []string, pid int) int {
	if pid == 1 { // whatever rdinit= calls it, and whatever words the kernel adds
		pid1.Run()
	}
	name := filepath.Base(args[0])
	args = args[1:]
	if find(name) == nil {
		if len(args) == 0 {
			usage(os.Stderr)
			return usageStatus
		}
		name, args = args[0], args[1:]
	}
	if name == "help" || name == "--help" || name == "-h" {
		usage(os.Stdout)
		return 0
	}
	p := find(name)
	if p == nil {
		fmt.Fprintf(os.Stderr, "ember: there is no program %q\n", name)
		usage(os.Stderr)
		return usageStatus
	}
	return p.run(args)
}

func find(name string) *program {
	for i := range programs {
		if programs[i].name == name {
			return &programs[i]
		}
	}
	return nil
}

func usage(w io.Writer) {
	fmt.Fprintf(w, "usage: ember PROGRAM [ARGUMENT...]\n\n")
	for _, p := range programs {
		fmt.Fprintf(w, "  %-17s %s\n", p.name, p.summary)
	}
	fmt.Fprintf(w, "  %-17s %s\n", "help", "print this")
}

func refuseInit([]string) int {
	fmt.Fprintln(os.Stderr, "ember init: this is for the kernel to start, as PID 1")
	return 1
}

func printVersion(args []string) int {
	if len(args) > 0 {
		fmt.Fprintln(os.Stderr, "usage: ember version")
		return usageStatus
	}
	fmt.Println(version.Version)
	return 0
}
