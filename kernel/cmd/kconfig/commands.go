package main

import (
	"fmt"
	"io"
	"os"

	"github.com/ember-os/ember/kernel/kconfig"
)

func merge(name string, args []string) error {
	c := newCommand(name)
	out := c.String("out", "", "`file` to write (default: standard output)")
	fragments, err := c.parse(args)
	if err != nil {
		return err
	}
	requests, err := kconfig.Merge(fragments)
	if err != nil {
		return err
	}
	return write(*out, func(w io.Writer) error { return kconfig.WriteAllconfig(w, requests) })
}

func check(name string, args []string) error {
	c := newCommand(name)
	config := c.String("config", "", "resolved configuration, a .config `file`")
	source := c.String("source", "", "kernel source `directory`, to explain what was not met (optional)")
	arch := c.String("arch", "x86", "the kernel's `name` of the architecture, for --source")
	fragments, err := c.parse(args, "config")
	if err != nil {
		return err
	}
	requests, err := kconfig.Merge(fragments)
	if err != nil {
		return err
	}
	result, err := readConfig(*config)
	if err != nil {
		return err
	}
	var tree *kconfig.Tree
	if *source != "" {
		if tree, err = kconfig.ReadTree(os.DirFS(*source), *arch); err != nil {
			return err
		}
	}
	return failed(kconfig.Check(requests, result, tree))
}

func reasons(name string, args []string) error {
	fragments, err := newCommand(name).parse(args)
	if err != nil {
		return err
	}
	requests, err := kconfig.Merge(fragments)
	if err != nil {
		return err
	}
	return failed(kconfig.CheckReasons(requests))
}

func doc(name string, args []string) error {
	c := newCommand(name)
	out := c.String("out", "", "`file` to write (default: standard output)")
	fragments, err := c.parse(args)
	if err != nil {
		return err
	}
	return write(*out, func(w io.Writer) error { return kconfig.WriteDoc(w, fragments) })
}

func save(name string, args []string) error {
	c := newCommand(name)
	before := c.String("before", "", ".config `file` before the session")
	after := c.String("after", "", ".config `file` after it")
	source := c.String("source", "", "kernel source `directory`")
	arch := c.String("arch", "x86", "the kernel's `name` of the architecture")
	to := c.String("to", "", "fragment `file` that new options go to (default: the first one)")
	fragments, err := c.parse(args, "before", "after", "source")
	if err != nil {
		return err
	}
	dest := fragments[0]
	for _, f := range fragments {
		if f.Name == *to {
			dest = f
		}
	}
	if *to != "" && dest.Name != *to {
		return c.misuse("--to " + *to + " is not among the fragments")
	}
	old, err := readConfig(*before)
	if err != nil {
		return err
	}
	now, err := readConfig(*after)
	if err != nil {
		return err
	}
	tree, err := kconfig.ReadTree(os.DirFS(*source), *arch)
	if err != nil {
		return err
	}
	requests := kconfig.Save(fragments, dest, old, now, tree)
	changed := map[string]bool{}
	for _, r := range requests {
		changed[r.Fragment] = true
		fmt.Printf("%s: %s\n", r.Fragment, r.Option)
	}
	for _, f := range fragments {
		if changed[f.Name] {
			if err := write(f.Name, f.Write); err != nil {
				return err
			}
		}
	}
	if len(requests) > 0 {
		fmt.Printf("%d options written; replace each TODO with the reason\n", len(requests))
	}
	return nil
}
