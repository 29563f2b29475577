// Package health decides whether this node is healthy. It is so if everything that it is meant to run does run:
//
//   - services: the target of its workload has been reached, and each unit below it and below ember.target is active,
//     or has ended well.
//   - commands: each program in Commands ends with status 0 within CommandLimit.
//   - kubernetes, if the file Config names a kubeconfig: the cluster's object of this node has the condition Ready.
//   - tinkerbell, if that is the workload: the agent has a TCP connection to Tinkerbell's server, and has been answered
//     on it.
//
// A look is all of these at once. What can not be found out is not healthy, and says why. Nothing is remembered from one
// look to the next but how often a check has failed after it was healthy: a check that did so twice within FlapTime
// flaps, which is reported and decides nothing. How long a node may take, and how long it has to stay healthy, is for
// who watches: see os/lkg/machine.
//
// Services, commands and the connection are looked at on this machine. What the cluster answers and the kubeconfig come
// from outside, so this is nothing for PID 1.
package health

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/ember-os/ember/os/cmdline"
)

const (
	// Path is the file with the latest report of Watch.
	Path = "/run/ember/health.json"
	// Commands is the directory of health commands.
	Commands = "/etc/ember/health.d"
	// Config is the file that names a kubeconfig, see docs/last-known-good.md.
	Config = "/etc/ember/health.json"
)

const (
	// CommandLimit is for a command to end.
	CommandLimit = 30 * time.Second
	// FlapTime is the time in which a check that fails twice flaps.
	FlapTime = 10 * time.Minute
)

// Report is what one look has found.
type Report struct {
	Healthy bool
	Since   time.Duration // of Healthy being as it is: nanoseconds since kernel start
	Checks  []Check       // in the order of the package's comment, commands by name
}

// Check is one of the things that make a node healthy.
type Check struct {
	Name    string // "services", "command NAME", "kubernetes", "tinkerbell"
	Healthy bool
	Reason  string // what was found, for people: one line without a full stop
	Failed  int    `json:",omitempty"` // times that it became unhealthy within FlapTime
}

// Flaps says that the check changes its mind.
func (c Check) Flaps() bool { return c.Failed > 1 }

// String is a line for people.
func (c Check) String() string {
	text := c.Name + ": " + c.Reason
	if c.Flaps() {
		text += ", and it flaps"
	}
	return text
}

// Why is one line for people: what is wrong, or if nothing is, what was found.
func (r Report) Why() string {
	var texts []string
	for _, c := range r.Checks {
		if c.Healthy == r.Healthy {
			texts = append(texts, c.String())
		}
	}
	return strings.Join(texts, "; ")
}

// Options is what a look needs to know. Nothing has to be set.
type Options struct {
	Config cmdline.Config // the kernel command line
	Except []string       // units that need not be up: the one that asks
	Log    *slog.Logger   // for what commands print, and what changes; nil for none
}

// Look looks once. It takes at most a second more than CommandLimit.
func Look(ctx context.Context, o Options) Report { panic("in the next commit") }

// Watch looks until ctx ends, every few seconds while the node is not healthy or has not been so for long, and less
// often after that. It calls changed, never twice at once, with the first report and with each in which something but
// Since is different, after it has written it to Path.
func Watch(ctx context.Context, o Options, changed func(Report)) { panic("in the next commit") }
