// Package cmdline reads Ember's parameters from the kernel command line.
//
// Of several values the last counts. An empty value is the same as none. As in
// the kernel, "-" and "_" are the same in a name, upper and lower case are not.
// What is not understood is reported with its name and its default is used: a
// typing error in a boot loader must not keep a machine from booting. Reports show
// no secrets. Parameters behind a bare "--" are meant for init and count like all
// others.
package cmdline

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Path is where the kernel shows its command line.
const Path = "/proc/cmdline"

// Config is what the command line asks for.
type Config struct {
	Debug       Debug       // DebugParam
	Log         slog.Level  // LogParam
	Workload    Workload    // WorkloadParam
	Consoles    []Console   // ConsoleParam, in their order
	SerialLines SerialLines // SerialParam
	KernelPanic bool        // PanicParam is given: the kernel knows what to do

	HWAddr    net.HardwareAddr // HWAddrParam, else BootIFParam; nil if not given
	Interface string           // InterfaceParam
	VLAN      int              // VLANParam; 0 for none
	IPAM      *IPAM            // IPAMParam; nil if not given
	Bonds     []Bond           // BondParam, each name once

	HTTPProxy  string // HTTPProxyParam
	HTTPSProxy string // HTTPSProxyParam
	NoProxy    string // NoProxyParam

	NTP    []string // NTPParam: names and addresses of servers, for want of others
	NTPOff bool     // NTPParam is "none": no server is asked, wherever it is named
	Syslog Syslog

	Attest     Attest
	LKG        LKG
	Containers Containers
	Tinkerbell Tinkerbell

	secrets []string
}

// Read reads the command line that the kernel was started with. The list is
// Parse's: mistakes in it, with which the Config is good to use.
func Read() (Config, []error, error) {
	line, err := os.ReadFile(Path)
	if err != nil {
		return Config{}, nil, fmt.Errorf("reading the kernel command line: %w", err)
	}
	c, errs := Parse(string(line))
	return c, errs, nil
}

// Error says that a parameter was not understood, and what happens instead.
type Error struct {
	Name   string
	Reason string
}

func (e *Error) Error() string {
	name := e.Name
	if !isPlain(name) {
		name = strconv.QuoteToASCII(name)
	}
	return "kernel parameter " + name + ": " + e.Reason
}

// Parse reads a command line. The errors are *Error, in the order of Groups, then
// those about parameters that are not in it.
func Parse(line string) (Config, []error) {
	args := Split(line)
	var c Config
	var errs []error
	for _, p := range params {
		if p.set == nil {
			continue
		}
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
	c.secrets = secrets(line)
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
		if strings.HasPrefix(a.Name, prefix) && !slices.ContainsFunc(params, known) {
			errs = append(errs, &Error{a.Name, "there is no such parameter; ignored"})
		}
	}
	return errs
}

// same compares two names as the kernel does.
func same(a, b string) bool {
	return strings.ReplaceAll(a, "-", "_") == strings.ReplaceAll(b, "-", "_")
}
