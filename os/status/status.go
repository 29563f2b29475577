// Package status says what this machine is, how it is and how its last boot ended:
// the program "ember status", and the block that every boot prints.
//
// The JSON document is a Report. Its fields keep their names; others may be added.
// Sizes are in bytes, durations in nanoseconds, times as in RFC 3339. What is not
// known is left out, or is zero.
package status

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/hardware"
	"github.com/ember-os/ember/os/health"
	"github.com/ember-os/ember/os/jsonfile"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/services"
	"github.com/ember-os/ember/os/timed"
	"github.com/ember-os/ember/os/version"
)

// Report is everything that "ember status" tells.
type Report struct {
	Version  string        // of Ember
	Kernel   string        // its release
	Uptime   time.Duration // since the kernel started
	Hardware hardware.Machine
	Network  netstate.State
	Clock    timed.State
	Services []Service     `json:",omitempty"`
	Health   health.Report `json:",omitzero"` // if something watches it
	LastBoot LastBoot
	Problems []string `json:",omitempty"` // what could not be found out, for people
}

// Service is one unit of the service manager.
type Service struct {
	Name     string
	State    string   // "active", "failed", ...: see docs/services.md
	Problems []string `json:",omitempty"` // of its unit file
}

// gather makes the report of the machine whose files are below root.
func gather(root string) Report {
	r := Report{
		Version: version.Version,
		Kernel:  readLine(root, "/proc/sys/kernel/osrelease"),
		Uptime:  uptime(readLine(root, "/proc/uptime")),
	}
	config, _ := cmdline.Parse(readLine(root, "/proc/cmdline")) // init reports mistakes
	r.Hardware = hardware.Read(root, config.HWAddr)
	var err error
	r.Network, err = netstate.Read(filepath.Join(root, netstate.Path))
	r.problem(err)
	r.Clock = read[timed.State](&r, root, timed.Path)
	r.Services = read[[]Service](&r, root, services.Path)
	r.Health = read[health.Report](&r, root, health.Path)
	r.LastBoot = read[LastBoot](&r, root, lastBootFile)
	return r
}

func (r *Report) problem(err error) {
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
}

func read[T any](r *Report, root, path string) T {
	v, err := jsonfile.Read[T](filepath.Join(root, path))
	r.problem(err)
	return v
}

func readLine(root, path string) string {
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// uptime reads /proc/uptime, whose first word is in seconds.
func uptime(line string) time.Duration {
	word, _, _ := strings.Cut(line, " ")
	seconds, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}
