// Menuconfig opens the kernel's own configuration menu on the resolved
// configuration and saves what was changed into the fragments of the workspace.
//
// Without a change nothing is written.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/toolroot"
	"github.com/ember-os/ember/tools/workspace"
)

const (
	fragments, suffix = "kernel/fragments", ".config"

	target = "//kernel:menuconfig"
	usage  = `usage:
  bazel run ` + target + ` [-- --to FRAGMENT]
    that is: menuconfig --compiler MARKER --source MARKER --config FILE --kconfig PROGRAM [--to FRAGMENT]

Options that no fragment has go to FRAGMENT, such as net for kernel/fragments/net.config, or
else to base. The files are named by their runfiles' paths: markers of the compiler root and of
the kernel's source, the resolved configuration, and the program kconfig.
`
)

func main() {
	toolroot.Init()
	var f files
	os.Exit(cli.Run("menuconfig", usage, os.Args[1:], cli.Command{Flags: func(set *flag.FlagSet) {
		set.StringVar(&f.compiler, "compiler", "", "")
		set.StringVar(&f.source, "source", "", "")
		set.StringVar(&f.config, "config", "", "")
		set.StringVar(&f.kconfig, "kconfig", "", "")
		set.StringVar(&f.to, "to", "base", "")
	}, Run: func(ctx context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return f.run(ctx)
	}}))
}

type files struct{ compiler, source, config, kconfig, to string }

func (f files) run(ctx context.Context) error {
	dir, err := workspace.Dir(target)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, fragments, f.to+suffix)); err != nil {
		return cli.Misuse("--to %s: there is no such fragment in %s", f.to, fragments)
	}
	for _, path := range []*string{&f.compiler, &f.source, &f.config, &f.kconfig} {
		if *path, err = runfiles.Rlocation(*path); err != nil {
			return err
		}
	}
	marker, err := filepath.EvalSymlinks(f.source)
	if err != nil {
		return fmt.Errorf("finding the kernel's source: %w", err)
	}
	source := filepath.Join(filepath.Dir(marker), "src")
	scratch, err := os.MkdirTemp("", "menuconfig")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	before, err := os.ReadFile(f.config)
	if err != nil {
		return err
	}
	after := filepath.Join(scratch, ".config")
	if err := os.WriteFile(after, before, 0o644); err != nil {
		return err
	}
	if err := f.edit(ctx, source, scratch); err != nil {
		return fmt.Errorf("running the menu: %w", err)
	}
	return f.save(filepath.Join(dir, fragments), source, after)
}

func (f files) edit(ctx context.Context, source, scratch string) error {
	root := toolroot.Root{Marker: f.compiler}
	term, err := terminal(root)
	if err != nil {
		return err
	}
	menu, err := root.Command(ctx, toolroot.Options{
		Binds: []toolroot.Bind{{Src: source, Dst: "/src"}, {Src: scratch, Dst: "/scratch", Write: true}},
		Env:   []string{"TERM=" + term, "NCURSES_NO_UTF8_ACS=1"},
		Dir:   "/scratch",
		NoNet: true,
	}, "make", "-s", "-C", "/src", "O=/scratch", "menuconfig")
	if err != nil {
		return err
	}
	menu.Stdin, menu.Stdout, menu.Stderr = os.Stdin, os.Stdout, os.Stderr
	return menu.Run()
}

// terminal is the caller's terminal if the root describes it, else what most are like.
func terminal(root toolroot.Root) (string, error) {
	dir, err := root.Dir()
	if err != nil {
		return "", err
	}
	term := os.Getenv("TERM")
	if term == "" {
		return "", fmt.Errorf("the menu needs a terminal: TERM is not set")
	}
	if _, err := os.Stat(filepath.Join(dir, "usr/share/terminfo", term[:1], filepath.Base(term))); err != nil {
		return "xterm", nil
	}
	return term, nil
}

// save writes what is different after the menu into the fragments of a directory.
func (f files) save(dir, source, after string) error {
	all, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return err
	}
	save := exec.Command(f.kconfig, append([]string{"save",
		"--before", f.config, "--after", after, "--source", source, "--to", filepath.Join(dir, f.to+suffix)}, all...)...)
	save.Stdout, save.Stderr = os.Stdout, os.Stderr
	return save.Run()
}
