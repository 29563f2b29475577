package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/ember-os/ember/kernel/kconfig"
	"github.com/ember-os/ember/os/cli"
)

func mergeCommand() cli.Command {
	var out string
	return command("merge", func(f *flag.FlagSet) {
		f.StringVar(&out, "out", "", "")
	}, func(fragments []*kconfig.Fragment) error {
		requests, err := kconfig.Merge(fragments)
		if err != nil {
			return err
		}
		return write(out, func(w io.Writer) error { return kconfig.WriteAllconfig(w, requests) })
	})
}

// session is what a session of the menu began and ended with.
type session struct{ before, after, source, arch, to string }

func saveCommand() cli.Command {
	var s session
	return command("save", func(f *flag.FlagSet) {
		f.StringVar(&s.before, "before", "", "")
		f.StringVar(&s.after, "after", "", "")
		f.StringVar(&s.source, "source", "", "")
		f.StringVar(&s.arch, "arch", "x86", "")
		f.StringVar(&s.to, "to", "", "")
	}, s.save, "before", "after", "source")
}

func (s *session) save(fragments []*kconfig.Fragment) error {
	dest := fragments[0]
	for _, f := range fragments {
		if f.Name == s.to {
			dest = f
		}
	}
	if s.to != "" && dest.Name != s.to {
		return cli.Misuse("--to %s is not among the fragments", s.to)
	}
	old, err := readConfig(s.before)
	if err != nil {
		return err
	}
	now, err := readConfig(s.after)
	if err != nil {
		return err
	}
	tree, err := kconfig.ReadTree(os.DirFS(s.source), s.arch)
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
