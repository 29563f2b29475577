// Enter runs a command inside a tool root; see package toolroot.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/ember-os/ember/tools/toolroot"
)

const usage = `Usage: enter --root MARKER [flags] -- COMMAND [ARGUMENT...]

Runs COMMAND as root of its own namespaces in the tool root beside MARKER, with
a clean environment, without privileges and without writing to the root. Exits
with the command's status; 125: the root could not be entered, 126: the command
could not be started, 127: the root has no such command.

Flags:
`

func main() {
	toolroot.Init()
	var (
		root toolroot.Root
		opts toolroot.Options
	)
	bind := func(write bool) func(string) error {
		return func(arg string) error {
			i := strings.LastIndexByte(arg, ':')
			if i <= 0 {
				return errors.New("want HOST:INSIDE")
			}
			opts.Binds = append(opts.Binds, toolroot.Bind{Src: arg[:i], Dst: arg[i+1:], Write: write})
			return nil
		}
	}
	flag.StringVar(&root.Marker, "root", "", "`marker` file of the tool root (required)")
	flag.Func("bind", "show a file or directory of the host read-only, as `host:inside`; may be repeated", bind(false))
	flag.Func("rw", "the same, writable, as `host:inside`", bind(true))
	flag.Func("env", "set a variable, as `name=value`; may be repeated", func(arg string) error {
		if !strings.Contains(arg, "=") {
			return errors.New("want NAME=VALUE")
		}
		opts.Env = append(opts.Env, arg)
		return nil
	})
	flag.StringVar(&opts.Dir, "chdir", "/", "working `directory` inside")
	flag.BoolVar(&opts.KVM, "kvm", false, "pass /dev/kvm")
	flag.BoolVar(&opts.NoNet, "no-net", false, "no network but a loopback interface")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if root.Marker == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	status, err := run(root, opts, flag.Args())
	if err != nil {
		fmt.Fprintf(os.Stderr, "enter: %v\n", err)
	}
	os.Exit(status)
}

func run(root toolroot.Root, opts toolroot.Options, argv []string) (int, error) {
	cmd, err := root.Command(context.Background(), opts, argv[0], argv[1:]...)
	if err != nil {
		return toolroot.StatusSetup, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		if cmd.ProcessState != nil && cmd.ProcessState.Exited() {
			return cmd.ProcessState.ExitCode(), err
		}
		return toolroot.StatusSetup, err
	}
	cmd.RelaySignals()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return toolroot.StatusSetup, err
	}
	if cmd.ProcessState.Exited() {
		return cmd.ProcessState.ExitCode(), nil
	}
	return toolroot.StatusSetup, fmt.Errorf("the command's first process: %v", cmd.ProcessState)
}
