package cmdline

import (
	"fmt"
	"slices"
	"strings"
)

// The parameters' names.
const (
	prefix = "ember." // of those that are Ember's own

	DebugParam    = "ember.debug"
	LogParam      = "ember.log"
	WorkloadParam = "ember.workload"
	ConsoleParam  = "console"
	PanicParam    = "panic"
)

// Param describes one parameter. The fields with capital letters are its
// documentation.
type Param struct {
	Name    string
	Type    string // what a value looks like, for people
	Default string // as it would be written; "" for none
	Doc     string
	Repeats bool // every occurrence counts, not the last one only

	// set takes a value that is not empty into the configuration, which an error
	// leaves as it was.
	set func(c *Config, value string) error
}

// Params is every parameter that Ember reads.
var Params = []Param{{
	Name: DebugParam,
	Type: "list of shell, fail, panic, separated by commas",
	Doc: "Debugging aids. shell: a root shell on every console, also after a failed boot. " +
		"fail: the boot fails on purpose. panic: init panics on purpose.",
	set: func(c *Config, value string) error {
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
				return fmt.Errorf("%q is not one of them", word)
			}
		}
		c.Debug = d
		return nil
	},
}, {
	Name:    LogParam,
	Type:    "debug, info, warn or error",
	Default: "info",
	Doc:     "The least severe messages that Ember prints on the consoles.",
	set: func(c *Config, value string) error {
		return c.Log.UnmarshalText([]byte(value))
	},
}, {
	Name:    WorkloadParam,
	Type:    "auto, tinkerbell, services or none",
	Default: string(WorkloadAuto),
	Doc: "What the machine runs once it is up. auto: tinkerbell if its parameters are on the " +
		"command line, else services. none: nothing.",
	set: oneOf(func(c *Config) *Workload { return &c.Workload },
		WorkloadAuto, WorkloadTinkerbell, WorkloadServices, WorkloadNone),
}, {
	Name:    ConsoleParam,
	Type:    "device name, then options behind a comma",
	Repeats: true,
	Doc: "The kernel's own. Ember writes to every console that is named, and to those the " +
		"kernel chose by itself.",
	set: func(c *Config, value string) error {
		device, _, _ := strings.Cut(value, ",")
		c.Consoles = append(c.Consoles, device)
		return nil
	},
}, {
	Name: PanicParam,
	Type: "number of seconds",
	Doc:  "The kernel's own. Without it Ember has the kernel reboot 10 s after a kernel panic.",
	set: func(c *Config, _ string) error {
		c.KernelPanic = true
		return nil
	},
}}

// oneOf accepts exactly the given words.
func oneOf[T ~string](field func(*Config) *T, words ...T) func(*Config, string) error {
	return func(c *Config, value string) error {
		if !slices.Contains(words, T(value)) {
			return fmt.Errorf("%q is not one of them", value)
		}
		*field(c) = T(value)
		return nil
	}
}
