// Package console writes to every console of the machine at once, and opens them
// as terminals for people.
//
// Writing never waits: each console has a queue and a Port that empties it. A
// console that takes nothing, such as a serial port whose other end stopped the
// flow, loses what is meant for it and delays nobody else. What is written before
// the consoles are open is kept for them.
package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/ember-os/ember/os/cmdline"
)

// Console is all consoles together. The zero value is ready for Write.
type Console struct {
	mu    sync.Mutex
	early [][]byte // written before Open
	ports []*Port
}

// class is the kernel's directory of terminals.
const class = "/sys/class/tty"

// Device is one console of the machine.
type Device struct {
	Name string
	Line string // how its serial line is to be set, as in console=; "" leaves it as it is
}

// notDevices are the names that the kernel takes for something else: no console at all,
// a UART by its address, a device by that of its bus, and tty0. Those of them that it
// uses it knows by another name.
var notDevices = regexp.MustCompile(`^(null|ttynull|uart.*|.*:.*|tty)$`)

// Devices finds the consoles of the machine: those of the command line, as far as
// they are names of devices, those that the kernel uses, and every serial line for
// which it has found a UART, unless only lines that are named are wanted. Of the
// serial lines, the kernel has set those that it uses, and no other, named or not.
func Devices(named []cmdline.Console, lines cmdline.SerialLines) []Device {
	return devices(class, named, lines)
}

func devices(class string, named []cmdline.Console, lines cmdline.SerialLines) []Device {
	text, _ := os.ReadFile(filepath.Join(class, "console", "active")) // without it, Open has its own last resort
	active := strings.Fields(string(text))
	serial := serialLines(class)
	named = slices.DeleteFunc(slices.Clone(named), func(c cmdline.Console) bool { return notDevices.MatchString(c.Device) })
	for _, name := range active {
		named = append(named, cmdline.Console{Device: name})
	}
	if lines == cmdline.SerialAll {
		for _, name := range serial {
			named = append(named, cmdline.Console{Device: name, Options: usualLine})
		}
	}
	var found []Device
	for _, c := range named {
		d := Device{Name: c.Device}
		if d.Name != filepath.Base(d.Name) || d.Name == "." || d.Name == ".." ||
			slices.ContainsFunc(found, func(f Device) bool { return f.Name == d.Name }) {
			continue
		}
		if slices.Contains(serial, d.Name) && !slices.Contains(active, d.Name) {
			d.Line = c.Options
		}
		found = append(found, d)
	}
	return found
}

// serialLines gives those that have a UART.
func serialLines(class string) []string {
	types, _ := filepath.Glob(filepath.Join(class, "*", "type")) // fails for a bad pattern only
	var names []string
	for _, path := range types {
		kind, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(kind)) != noUART {
			names = append(names, filepath.Base(filepath.Dir(path)))
		}
	}
	return names
}

// noUART is PORT_UNKNOWN of linux/serial.h.
const noUART = "0"

// Open opens devices in dir, which is /dev, and sets their lines. What a console
// receives has no effect on what it sends, until someone reads from it and sets it as
// that needs, as OpenTerminal does. Open returns an error for each that cannot be
// opened or is no terminal, and for each that cannot be set as it should. If none is
// left it takes the first of dir/console, the kernel's log dir/kmsg, and standard
// error that works. The caller must Run all Ports.
func (c *Console) Open(dir string, devices []Device) []error {
	var ports []*Port
	var errs []error
	for _, d := range devices {
		p, err := openPort(d.Name, filepath.Join(dir, d.Name), true)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ports = append(ports, p)
		if err := p.control(deafen); err != nil {
			errs = append(errs, fmt.Errorf("setting console %s: %w", d.Name, err))
		}
		if d.Line == "" {
			continue
		}
		if err := p.setLine(d.Line); err != nil {
			errs = append(errs, fmt.Errorf("setting the serial line of console %s: %w", d.Name, err))
		}
	}
	if ports == nil {
		ports = []*Port{lastResort(dir)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ports = ports
	for _, p := range ports {
		for _, text := range c.early {
			p.enqueue(item{text: text})
		}
	}
	c.early = nil
	return errs
}

// Ports is what Open opened, nil before.
func (c *Console) Ports() []*Port {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ports
}

// Write queues whole lines for every console. It never waits and never fails.
func (c *Console) Write(lines []byte) (int, error) {
	text := slices.Clone(lines)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ports == nil {
		c.early = append(c.early, text)
	}
	for _, p := range c.ports {
		p.enqueue(item{text: text})
	}
	return len(lines), nil
}

// Flush waits until everything written so far has left the machine, or ctx ends.
func (c *Console) Flush(ctx context.Context) error {
	var pending []item
	var errs []error
	for _, p := range c.Ports() {
		i := item{flushed: make(chan struct{})}
		if p.enqueue(i) {
			pending = append(pending, i)
		} else {
			errs = append(errs, fmt.Errorf("flushing console %s: it takes nothing", p.Name))
		}
	}
	for _, i := range pending {
		select {
		case <-i.flushed:
		case <-ctx.Done():
			return errors.Join(append(errs, fmt.Errorf("flushing consoles: %w", ctx.Err()))...)
		}
	}
	return errors.Join(errs...)
}
