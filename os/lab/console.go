package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/ember-os/ember/os/lab/cast"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
)

// console gets what the machine prints, in all its boots. It keeps it in a file, and shows the stages that matter here
// as they come; what the steps wait for is the virtual machine's affair.
type console struct {
	screen *screen
	file   *os.File
	all    bool // is shown

	mu   sync.Mutex
	line []byte
}

func newConsole(path string, s *screen, all bool) (*console, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("keeping the console: %w", err)
	}
	return &console{screen: s, file: f, all: all}, nil
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range p {
		if b != '\n' && b != '\r' {
			c.line = append(c.line, b)
			continue
		}
		if line := vm.Plain(c.line); line != "" {
			c.show(line)
		}
		c.line = c.line[:0]
	}
	return c.file.Write(p)
}

func (c *console) Close() error { return c.file.Close() }

// mark separates the boots in the file.
func (c *console) mark(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	io.WriteString(c.file, "\r\n=== "+text+"\r\n")
}

// shown are the stages of which people are told, with what they are told of each.
var shown = map[string][]string{
	stage.Start:    {"version", "kernel"},
	stage.Network:  {"link", "address"},
	stage.Boot:     {"phase", "from", "overlay", "attempt", "why"},
	stage.Stopping: {"action", "reason"},
}

// What OVMF says of where it boots from.
const bds = "BdsDxe: "

var firmware = []string{bds + "starting ", bds + "failed ", ">>Start "}

func (c *console) show(line string) {
	if c.all {
		c.screen.print(cast.Faint + "    | " + line + cast.Plain + "\n")
	}
	for _, beginning := range firmware {
		if strings.HasPrefix(line, beginning) {
			text, _, _ := strings.Cut(strings.TrimPrefix(line, bds), " from ")
			c.screen.say("firmware", "%s", strings.TrimLeft(text, "> "))
		}
	}
	l, ok := stage.Parse(line)
	keys := shown[l.Name]
	if !ok || keys == nil {
		return
	}
	fields := slices.DeleteFunc(slices.Clone(l.Fields), func(f stage.Field) bool { return !slices.Contains(keys, f.Key) })
	c.screen.say("machine", "%s: %s", l.Name, stage.FormatFields(fields...))
}
