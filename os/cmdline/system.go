package cmdline

import (
	"log/slog"
	"strings"
)

// The parameters of the system as a whole.
const (
	DebugParam    = "ember.debug"
	LogParam      = "ember.log"
	SerialParam   = "ember.serial"
	WorkloadParam = "ember.workload"
)

// Debug is the set of debugging aids asked for.
type Debug struct {
	Shell bool // a shell on every console
	Fail  bool // the boot fails on purpose
	Panic bool // init panics on purpose
}

// SerialLines says which serial lines are consoles.
type SerialLines string

// The choices of serial lines.
const (
	SerialAll   SerialLines = "all"   // every one that the machine has
	SerialNamed SerialLines = "named" // those of ConsoleParam
)

// Workload is what the machine runs once it is up.
type Workload string

// The workloads.
const (
	WorkloadAuto       Workload = "auto"       // Tinkerbell if its parameters are there, else services
	WorkloadTinkerbell Workload = "tinkerbell" // the Tinkerbell agent
	WorkloadServices   Workload = "services"   // the unit files of the image and its overlay
	WorkloadNone       Workload = "none"       // nothing: the machine stays at the stage "ready"
)

// EffectiveWorkload is the workload with WorkloadAuto resolved. As on Tinkerbell's
// own systems, its agent is wanted where its image or registry is named.
func (c Config) EffectiveWorkload() Workload {
	switch {
	case c.Workload != WorkloadAuto:
		return c.Workload
	case c.Tinkerbell.WorkerImage != "" || c.Tinkerbell.Registry != "":
		return WorkloadTinkerbell
	}
	return WorkloadServices
}

// Target is the unit that the effective workload is; "" for none.
func (c Config) Target() string {
	switch c.EffectiveWorkload() {
	case WorkloadServices:
		return "multi-user.target"
	case WorkloadTinkerbell:
		return "tinkerbell.target"
	}
	return ""
}

var systemParams = []Param{{
	Name: DebugParam,
	Type: "list of shell, fail, panic, separated by commas",
	Doc: "Debugging aids. shell: a root shell on every console, also after a failed boot. " +
		"fail: the boot fails on purpose. panic: init panics on purpose.",
	set: into(func(c *Config) *Debug { return &c.Debug }, debugging),
}, {
	Name:    LogParam,
	Type:    "debug, info, warn or error",
	Default: "info",
	Doc:     "The least severe messages that Ember prints on the consoles.",
	set:     into(func(c *Config) *slog.Level { return &c.Log }, level),
}, {
	Name:    SerialParam,
	Type:    "all or named",
	Default: string(SerialAll),
	Doc: "The serial lines that are consoles. all: every one that the machine has; one without a `console=` of its " +
		"own is set to 115,200 bit/s, 8n1. named: only those of `console=`, where something else than a console, " +
		"such as a UPS, is at the end of another.",
	set: into(func(c *Config) *SerialLines { return &c.SerialLines }, oneOf(SerialAll, SerialNamed)),
}, {
	Name:    WorkloadParam,
	Type:    "auto, tinkerbell, services or none",
	Default: string(WorkloadAuto),
	Doc: "What the machine runs once it is up. auto: tinkerbell if `tink_worker_image` or " +
		"`docker_registry` is on the command line, else services. none: nothing.",
	set: into(func(c *Config) *Workload { return &c.Workload },
		oneOf(WorkloadAuto, WorkloadTinkerbell, WorkloadServices, WorkloadNone)),
}}

func debugging(value string) (Debug, error) {
	var d Debug
	for word := range strings.SplitSeq(value, ",") {
		switch word {
		case "shell":
			d.Shell = true
		case "fail":
			d.Fail = true
		case "panic":
			d.Panic = true
		default:
			return Debug{}, notA(word, "one of them")
		}
	}
	return d, nil
}

func level(value string) (l slog.Level, err error) {
	if l.UnmarshalText([]byte(value)) != nil {
		return 0, notA(value, "a level")
	}
	return l, nil
}
