// Lab shows all of Ember working on one computer, without privileges: a machine that boots from the network, attests,
// gets its configuration, runs a workflow of Tinkerbell's, becomes healthy, keeps what made it so, comes up from its
// disk when all servers are gone, refuses a configuration that the operators have not signed, and goes round with a bad
// one until it is given a good one. The manual is docs/lab.md.
//
// The machine is a virtual one of package vm, with UEFI, a software TPM and two disks. Its servers are those that the
// tests have: attestd and emberctl as users get them, Tinkerbell's real agent and a server that speaks its protocol
// (tinktest), DHCP and time from Debian's programs (package lab). Nothing is pretended: a step is over when the console
// of the machine and the server in question have said so, and the first one that fails ends the lab.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/tools/runfile"
	"github.com/ember-os/ember/tools/toolroot"
)

const usage = `Usage: bazel run //os:lab -- [flags]

Shows a machine's life on this computer: it boots from the network, attests,
gets its configuration, runs a workflow, is healthy and keeps what made it so;
then it loses its power and all servers, and comes up from its disk; then it is
given a configuration that is forged, a bad one, and a good one. Ctrl-C ends it
and cleans up.

Flags:
  --step             wait for Enter before each step; anything else that is
                     typed goes to a shell on the machine's console
  --stay             after the last step, go on until Ctrl-C
  --console          show the machine's console, too
  --record FILE      write what is shown to FILE, as asciinema does (version 2)
  --kvm auto|off     use KVM if the kernel boots under it (auto), or emulate
  --patience TIME    how long each thing may take, 3m by default
  --help             show this

Exit status: 0 if every step has really happened, else 1; 2 for wrong usage.

Examples:
  bazel run //os:lab
  bazel run //os:lab -- --step --console
  bazel run //os:lab -- --stay        # and look at the status page
  bazel run //os:lab -- --record lab.cast && asciinema play lab.cast
`

// flags are what the lab is told. The files are those that Bazel names.
type flags struct {
	step, stay, console bool
	record, kvm         string
	patience            time.Duration
	files               files
}

type files struct {
	root, bootRoot, kernel, initrd, attestd, emberctl, tinkserver, tinkAgent, busybox string
}

func main() {
	toolroot.Init()
	lab.Init()
	var f flags
	os.Exit(cli.Run("lab", usage, os.Args[1:], cli.Command{
		Flags: f.declare,
		Run: func(ctx context.Context, args []string) error {
			if err := cli.NoArguments(args); err != nil {
				return err
			}
			if err := f.check(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
			defer stop()
			return run(ctx, f)
		},
	}))
}

func (f *flags) named() map[string]*string {
	return map[string]*string{
		"root": &f.files.root, "boot-root": &f.files.bootRoot, "kernel": &f.files.kernel, "initrd": &f.files.initrd,
		"attestd": &f.files.attestd, "emberctl": &f.files.emberctl, "tinkserver": &f.files.tinkserver,
		"tink-agent": &f.files.tinkAgent, "busybox": &f.files.busybox,
	}
}

func (f *flags) declare(set *flag.FlagSet) {
	set.BoolVar(&f.step, "step", false, "")
	set.BoolVar(&f.stay, "stay", false, "")
	set.BoolVar(&f.console, "console", false, "")
	set.StringVar(&f.record, "record", "", "")
	set.StringVar(&f.kvm, "kvm", "auto", "")
	set.DurationVar(&f.patience, "patience", 3*time.Minute, "")
	for name, file := range f.named() {
		set.StringVar(file, name, "", "")
	}
}

// check completes the flags.
func (f *flags) check() error {
	switch {
	case f.kvm != "auto" && f.kvm != "off":
		return cli.Misuse("--kvm=%s: want auto or off", f.kvm)
	case f.patience <= 0:
		return cli.Misuse("--patience=%v: want a time such as 3m", f.patience)
	}
	for name, file := range f.named() {
		if *file == "" {
			return cli.Misuse("--%s is missing: bazel run //os:lab gives it", name)
		}
		*file = runfile.Locate(*file)
	}
	if f.record != "" {
		f.record = runfile.Locate(f.record)
	}
	return nil
}

func run(ctx context.Context, f flags) (err error) {
	s := newScreen(os.Stdout, isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "")
	if f.record != "" {
		file, err := os.Create(f.record)
		if err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		if err := s.recordTo(file); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
	}
	r, err := newRack(f, s)
	if err != nil {
		return err
	}
	defer r.close()
	return r.play(ctx, scenario)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
