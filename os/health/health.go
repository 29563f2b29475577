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
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/service"
	"github.com/ember-os/ember/os/services"
	"github.com/ember-os/ember/os/stage"
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

	answerLimit = 10 * time.Second // for servers
	maxShown    = 300              // bytes of a text from outside
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

	output string // of a command
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
	Log    *slog.Logger   // for what changes, and what commands print then; nil for none
}

// Look looks once. It takes at most a second more than CommandLimit.
func Look(ctx context.Context, o Options) Report {
	r := newLooker(o).look(ctx)
	r.Since = stage.Now()
	return r
}

// looker looks at a machine.
type looker struct {
	Options
	paths    paths
	limit    time.Duration // for a command
	patience time.Duration // for an answer from the network
}

type paths struct{ services, commands, settings, bootID, report string }

func newLooker(o Options) *looker {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &looker{o, paths{services.Path, Commands, Config, "/proc/sys/kernel/random/boot_id", Path}, CommandLimit, answerLimit}
}

// look makes a report without Since.
func (l *looker) look(ctx context.Context) Report {
	statuses, err := service.ReadStatuses(l.paths.services)
	var up, cluster, tinkerbell Check
	var commands []Check
	var looking sync.WaitGroup
	looking.Go(func() { commands = l.commands(ctx) })
	looking.Go(func() { cluster = l.cluster(ctx) })
	looking.Go(func() { tinkerbell = l.tinkerbell(ctx, statuses) })
	if up = l.services(statuses); err != nil {
		up = unhealthy(servicesCheck, "%v", err)
	}
	looking.Wait()
	r := Report{Checks: slices.Concat([]Check{up}, commands, []Check{cluster, tinkerbell})}
	r.Checks = slices.DeleteFunc(r.Checks, func(c Check) bool { return c.Name == "" })
	r.Healthy = !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.Healthy })
	return r
}

func healthy(name, format string, args ...any) Check {
	return Check{Name: name, Healthy: true, Reason: fmt.Sprintf(format, args...)}
}

func unhealthy(name, format string, args ...any) Check {
	return Check{Name: name, Reason: fmt.Sprintf(format, args...)}
}

// shown is a text from outside for a reason: one line, not too long.
func shown(text string) string {
	if len(text) > maxShown {
		text = text[:maxShown] + "…"
	}
	return logline.Visible(strings.TrimSpace(text))
}
