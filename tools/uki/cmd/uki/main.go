// Command uki makes unified kernel images.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/uki"
)

const usage = `usage:
  uki build --stub FILE --kernel FILE --initrd FILE --os-release FILE --release FILE
            --cmdline LINE --out FILE
  uki measure FILE

build makes one UEFI program of a stub, a kernel, its initrd and its command line;
--release names a file with what uname -r prints under that kernel. measure prints
what starting such a program extends into the TPM, as lines of PCR, SHA-256 and what
it is of; the first is also what Secure Boot's signatures sign.
`

func main() {
	os.Exit(cli.Run("uki", usage, os.Args[1:], buildCommand(), measureCommand()))
}

func buildCommand() cli.Command {
	var stub, kernel, initrd, osRelease, release, cmdline, out string
	return cli.Command{Name: "build", Flags: func(f *flag.FlagSet) {
		f.StringVar(&stub, "stub", "", "")
		f.StringVar(&kernel, "kernel", "", "")
		f.StringVar(&initrd, "initrd", "", "")
		f.StringVar(&osRelease, "os-release", "", "")
		f.StringVar(&release, "release", "", "")
		f.StringVar(&cmdline, "cmdline", "", "")
		f.StringVar(&out, "out", "", "")
	}, Run: func(_ context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		if stub == "" || kernel == "" || initrd == "" || osRelease == "" || release == "" || cmdline == "" || out == "" {
			return cli.Misuse("all flags are needed")
		}
		var r reader
		base := r.read(stub)
		c := uki.Content{
			Kernel:    r.read(kernel),
			Initrd:    r.read(initrd),
			Cmdline:   cmdline,
			OSRelease: r.read(osRelease),
			Release:   strings.TrimSpace(string(r.read(release))),
		}
		if r.err != nil {
			return r.err
		}
		image, err := uki.Build(base, c)
		if err != nil {
			return err
		}
		return os.WriteFile(out, image, 0o644)
	}}
}

func measureCommand() cli.Command {
	return cli.Command{Name: "measure", Run: func(_ context.Context, args []string) error {
		if len(args) != 1 {
			return cli.Misuse("one file is needed")
		}
		image, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		events, err := uki.Events(image)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		for _, e := range events {
			fmt.Printf("%d %x %s\n", e.PCR, e.Digest, e.What)
		}
		return nil
	}}
}

// reader reads files until one cannot be read.
type reader struct{ err error }

func (r *reader) read(path string) []byte {
	data, err := os.ReadFile(path)
	r.err = errors.Join(r.err, err)
	return data
}
