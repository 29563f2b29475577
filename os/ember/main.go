// Ember is every program of ours in one: its first argument, or the name it is
// called by, says which.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/os/pid1"
	"github.com/ember-os/ember/os/version"
)

// program is one of the programs. It gets the arguments behind its name and
// returns the exit status.
type program struct {
	name, summary string
	run           func(args []string) int
}

var programs = []program{
	{"init", "bring up the machine; only the kernel calls it, as PID 1", refuseInit},
	{"version", "print the version", printVersion},
}

const usageStatus = 2

func main() { os.Exit(run(os.Args, os.Getpid())) }

func run(args []string, pid int) int {
	if pid == 1 { // whatever rdinit= calls it, and whatever words the kernel adds
		pid1.Run()
	}
	name := filepath.Base(args[0])
	args = args[1:]
	if find(name) == nil {
		if len(args) == 0 {
			usage(os.Stderr)
			return usageStatus
		}
		name, args = args[0], args[1:]
	}
	if name == "help" || name == "--help" || name == "-h" {
		usage(os.Stdout)
		return 0
	}
	p := find(name)
	if p == nil {
		fmt.Fprintf(os.Stderr, "ember: there is no program %q\n", name)
		usage(os.Stderr)
		return usageStatus
	}
	return p.run(args)
}

func find(name string) *program {
	for i := range programs {
		if programs[i].name == name {
			return &programs[i]
		}
	}
	return nil
}

func usage(w io.Writer) {
	fmt.Fprintf(w, "usage: ember PROGRAM [ARGUMENT...]\n\n")
	for _, p := range programs {
		fmt.Fprintf(w, "  %-10s %s\n", p.name, p.summary)
	}
	fmt.Fprintf(w, "  %-10s %s\n", "help", "print this")
}

func refuseInit([]string) int {
	fmt.Fprintln(os.Stderr, "ember init: this is for the kernel to start, as PID 1")
	return 1
}

func printVersion(args []string) int {
	if len(args) > 0 {
		fmt.Fprintln(os.Stderr, "usage: ember version")
		return usageStatus
	}
	fmt.Println(version.Version)
	return 0
}
