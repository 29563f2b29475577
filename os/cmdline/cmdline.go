// Package cmdline reads Ember's parameters from the kernel command line.
//
// Of several values the last counts. An empty value is the same as none. As in
// the kernel, "-" and "_" are the same in a name. What is not understood is
// reported with its name and its default is used: a typing error in a boot loader
// must not keep a machine from booting. Parameters behind a bare "--" are meant
// for init and count like all others.
package cmdline

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Config is what the command line asks for.
type Config struct {
	Debug       Debug      // DebugParam
	Log         slog.Level // LogParam
	Workload    Workload   // WorkloadParam
	Consoles    []string   // ConsoleParam: device names below /dev, in their order
	KernelPanic bool       // PanicParam is given: the kernel knows what to do
}

// Debug is the set of debugging aids asked for.
type Debug struct {
	Shell bool // a shell on every console
	Fail  bool // the boot fails on purpose
	Panic bool // init panics on purpose
}

// Workload is what the machine runs once it is up.
type Workload string

// The workloads.
const (
	WorkloadAuto       Workload = "auto"       // Tinkerbell if its parameters are there, else services
	WorkloadTinkerbell Workload = "tinkerbell" // the Tinkerbell agent
	WorkloadServices   Workload = "services"   // the unit files of the image and its overlay
	WorkloadNone       Workload = "none"       // nothing: the machine stays at the stage "ready"
)

// Error says that a parameter was not understood, and what happens instead.
type Error struct {
	Name   string
	Reason string
}

func (e *Error) Error() string { return "kernel parameter " + e.Name + ": " + e.Reason }

// Parse reads a command line. The errors are *Error, in the order of Params,
// then those about parameters that are not in it.
func Parse(line string) (Config, []error) {
	args := Split(line)
	var c Config
	var errs []error
	for _, p := range Params {
		if p.Default != "" {
			if err := p.set(&c, p.Default); err != nil {
				panic("default of " + p.Name + ": " + err.Error())
			}
		}
		for _, a := range p.given(args) {
			if err := p.take(&c, a); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return c, append(errs, unknown(args)...)
}

// given is what the line says about p: of several values the last, unless all
// count.
func (p *Param) given(args []Arg) []Arg {
	var given []Arg
	for _, a := range args {
		if !same(a.Name, p.Name) {
			continue
		}
		if !p.Repeats {
			given = nil
		}
		given = append(given, a)
	}
	return given
}

func (p *Param) take(c *Config, a Arg) error {
	if a.Value == "" && !a.Bare {
		return nil
	}
	err := errors.New("it needs a value")
	if !a.Bare {
		err = p.set(c, a.Value)
	}
	if err == nil {
		return nil
	}
	instead := "ignored"
	if p.Default != "" {
		instead = fmt.Sprintf("using %q", p.Default)
	}
	return &Error{p.Name, fmt.Sprintf("%v; expected %s; %s", err, p.Type, instead)}
}

// unknown reports names of ours that do not exist, most likely misspelt.
func unknown(args []Arg) []error {
	var errs []error
	for _, a := range args {
		known := func(p Param) bool { return same(p.Name, a.Name) }
		if strings.HasPrefix(a.Name, prefix) && !slices.ContainsFunc(Params, known) {
			errs = append(errs, &Error{a.Name, "there is no such parameter; ignored"})
		}
	}
	return errs
}

// same compares two names as the kernel does.
func same(a, b string) bool {
	return strings.ReplaceAll(a, "-", "_") == strings.ReplaceAll(b, "-", "_")
}
