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
	"slices"
	"strings"
	"sync"
)

// Console is all consoles together. The zero value is ready for Write.
type Console struct {
	mu    sync.Mutex
	early [][]byte // written before Open
	ports []*Port
}

// class is the kernel's directory of terminals.
const class = "/sys/class/tty"

// Names gives the device names of all consoles: those of the command line, as far
// as they are names of devices, and those the kernel uses.
func Names(commandLine []string) []string {
	active, _ := os.ReadFile(class + "/console/active") // without it, Open has its own last resort
	var names []string
	for _, name := range slices.Concat(commandLine, strings.Fields(string(active))) {
		if name == filepath.Base(name) && name != "." && name != ".." && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Unnamed gives the serial lines of the machine that are not among names: those
// for which the kernel has found a UART.
func Unnamed(names []string) []string { return unnamed(class, names) }

func unnamed(class string, names []string) []string {
	types, _ := filepath.Glob(filepath.Join(class, "*", "type")) // fails for a bad pattern only
	var lines []string
	for _, path := range types {
		name := filepath.Base(filepath.Dir(path))
		kind, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(kind)) != noUART && !slices.Contains(names, name) {
			lines = append(lines, name)
		}
	}
	return lines
}

// noUART is PORT_UNKNOWN of linux/serial.h.
const noUART = "0"

// Open opens the consoles with these names in dir, which is /dev, and sets those
// that nobody has named, and so given a speed, to 115,200 bit/s. It returns an
// error for each that cannot be opened or is no terminal. If none is left it takes
// the first of dir/console, the kernel's log dir/kmsg, and standard error that
// works. The caller must Run all Ports.
func (c *Console) Open(dir string, named, unnamed []string) []error {
	var ports []*Port
	var errs []error
	for i, name := range slices.Concat(named, unnamed) {
		p, err := openPort(name, filepath.Join(dir, name), true)
		if err == nil && i >= len(named) {
			err = p.setSpeed()
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ports = append(ports, p)
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
