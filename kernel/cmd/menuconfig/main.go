// Menuconfig opens the kernel's own configuration menu on the resolved
// configuration and saves what was changed into the fragments of the workspace.
//
// It is run by `bazel run //kernel:menuconfig`. Without a change nothing is
// written.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/ember-os/ember/tools/toolroot"
)

func main() {
	toolroot.Init()
	var f files
	flag.StringVar(&f.compiler, "compiler", "", "`marker` of the compiler root, as a runfiles path")
	flag.StringVar(&f.source, "source", "", "`marker` of the kernel's source, as a runfiles path")
	flag.StringVar(&f.config, "config", "", "resolved configuration, as a runfiles `path`")
	flag.StringVar(&f.kconfig, "kconfig", "", "the kconfig program, as a runfiles `path`")
	flag.Parse()
	if err := f.run(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "menuconfig: %v\n", err)
		os.Exit(1)
	}
}

type files struct{ compiler, source, config, kconfig string }

func (f files) run(ctx context.Context) error {
	workspace := os.Getenv("BUILD_WORKSPACE_DIRECTORY")
	if workspace == "" {
		return fmt.Errorf("this program changes the workspace: start it with bazel run //kernel:menuconfig")
	}
	for _, path := range []*string{&f.compiler, &f.source, &f.config, &f.kconfig} {
		var err error
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
	return f.save(workspace, source, after)
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

func (f files) save(workspace, source, after string) error {
	fragments, err := filepath.Glob(filepath.Join(workspace, "kernel/fragments/*.config"))
	if err != nil {
		return err
	}
	save := exec.Command(f.kconfig, append([]string{"save", "--before", f.config, "--after", after, "--source", source}, fragments...)...)
	save.Stdout, save.Stderr = os.Stdout, os.Stderr
	return save.Run()
}
