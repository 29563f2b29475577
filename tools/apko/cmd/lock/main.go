// Command lock pins what an apko configuration composes, and prepares a locked
// configuration for a build.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/ember-os/ember/tools/apko/lock"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "lock: %v\n", err)
		var wrong usageError
		if errors.As(err, &wrong) {
			fmt.Fprint(os.Stderr, usage)
			os.Exit(2)
		}
		os.Exit(1)
	}
}

type usageError string

func (e usageError) Error() string { return string(e) }

type options struct{ apko, config, lock, out string }

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usageError("no command given")
	}
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.config, "config", "", "")
	flags.StringVar(&o.lock, "lock", "", "")
	var command func() error
	switch args[0] {
	case "renew":
		flags.StringVar(&o.apko, "apko", "", "")
		command = func() error { return renew(ctx, &o, flags.Args()) }
	case "offline":
		flags.StringVar(&o.out, "out", "", "")
		command = func() error { return offline(&o) }
	case "help", "--help", "-h":
		fmt.Print(usage)
		return nil
	default:
		return usageError("no command " + args[0])
	}
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		return nil
	} else if err != nil {
		return usageError(err.Error())
	}
	if o.config == "" || o.lock == "" {
		return usageError("--config and --lock are needed")
	}
	return command()
}

func renew(ctx context.Context, o *options, files []string) error {
	workspace := os.Getenv("BUILD_WORKSPACE_DIRECTORY")
	if workspace == "" {
		return usageError("this command changes the workspace: start it by bazel run")
	}
	if err := os.Chdir(workspace); err != nil {
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
		return nil, usageError("a repository's index and public key are needed")
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
