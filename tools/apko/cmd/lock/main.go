// Command lock pins what an apko configuration composes, and prepares a locked
// configuration for a build.
package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/apko/lock"
	"github.com/ember-os/ember/tools/workspace"
)

const usage = `usage:
  bazel run //image:lock
    that is: lock renew --apko PROGRAM --config FILE --lock FILE REPOSITORY-FILE...
  lock offline --config FILE --lock FILE --out FILE

renew resolves the configuration against the repository of our own packages, of
which the files are given (programs and files by their runfiles' paths), and the
public ones that it names, writes the lock into the workspace and shows what
changed. offline writes the configuration without the public repositories; it
fails if the lock is of another one.
`

func main() {
	os.Exit(cli.Run("lock", usage, os.Args[1:], renewCommand(), offlineCommand()))
}

type options struct{ apko, config, lock, out string }

func (o *options) flags(f *flag.FlagSet) {
	f.StringVar(&o.config, "config", "", "")
	f.StringVar(&o.lock, "lock", "", "")
}

func (o *options) check() error {
	if o.config == "" || o.lock == "" {
		return cli.Misuse("--config and --lock are needed")
	}
	return nil
}

func renewCommand() cli.Command {
	var o options
	return cli.Command{Name: "renew", Flags: func(f *flag.FlagSet) {
		o.flags(f)
		f.StringVar(&o.apko, "apko", "", "")
	}, Run: func(ctx context.Context, files []string) error {
		if err := o.check(); err != nil {
			return err
		}
		return renew(ctx, &o, files)
	}}
}

func offlineCommand() cli.Command {
	var o options
	return cli.Command{Name: "offline", Flags: func(f *flag.FlagSet) {
		o.flags(f)
		f.StringVar(&o.out, "out", "", "")
	}, Run: func(_ context.Context, args []string) error {
		if err := cmp.Or(cli.NoArguments(args), o.check()); err != nil {
			return err
		}
		return offline(&o)
	}}
}

func renew(ctx context.Context, o *options, files []string) error {
	if err := workspace.Enter("//image:lock"); err != nil {
		return err
	}
	resolver, err := newResolver(o.apko, files)
	if err != nil {
		return err
	}
	after, err := resolver.Resolve(ctx, o.config)
	if err != nil {
		return err
	}
	data, err := after.Encode()
	if err != nil {
		return err
	}
	old, err := os.ReadFile(o.lock)
	if err == nil && bytes.Equal(old, data) {
		fmt.Printf("%s: nothing changed\n", o.lock)
		return nil
	}
	before, err := lock.Parse(old)
	if err != nil {
		before = new(lock.Lock) // what cannot be read is replaced
	}
	fmt.Printf("%s:\n", o.lock)
	for _, line := range lock.Changes(before, after) {
		fmt.Printf("  %s\n", line)
	}
	return os.WriteFile(o.lock, data, 0o644)
}

// newResolver finds apko and, among a repository's files, the index and the key.
func newResolver(apko string, files []string) (*lock.Resolver, error) {
	var r lock.Resolver
	var err error
	if r.Apko, err = runfiles.Rlocation(apko); err != nil {
		return nil, err
	}
	for _, file := range files {
		path, err := runfiles.Rlocation(file)
		if err != nil {
			return nil, err
		}
		switch {
		case filepath.Base(path) == "APKINDEX.tar.gz":
			r.Repository = filepath.Dir(filepath.Dir(path))
		case filepath.Ext(path) == ".pub":
			r.Key = path
		}
	}
	if r.Repository == "" || r.Key == "" {
		return nil, cli.Misuse("a repository's index and public key are needed")
	}
	return &r, nil
}

func offline(o *options) error {
	data, err := os.ReadFile(o.lock)
	if err != nil {
		return err
	}
	l, err := lock.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", o.lock, err)
	}
	config, err := os.ReadFile(o.config)
	if err != nil {
		return err
	}
	if err := l.CheckConfig(config); err != nil {
		return err
	}
	out, err := lock.Offline(config)
	if err != nil {
		return fmt.Errorf("%s: %w", o.config, err)
	}
	return os.WriteFile(o.out, out, 0o644)
}
