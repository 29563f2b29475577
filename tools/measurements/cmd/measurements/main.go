// Command measurements writes what machines will measure that boot a build of Ember.
package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/measurements"
)

const usage = `usage:
  measurements --version VERSION --cmdline LINE --kernel FILE --initrd FILE --uki FILE
               --kernel-name NAME --initrd-name NAME --out FILE [LOADER...]

Writes, as JSON for policies of attestd, what the TPMs of machines record that boot
these files. LOADERs are UEFI programs that may run before, such as iPXE.
`

func main() { os.Exit(cli.Run("measurements", usage, os.Args[1:], command())) }

func command() cli.Command {
	var c measurements.Content
	var kernel, initrd, image, out string
	return cli.Command{Flags: func(f *flag.FlagSet) {
		f.StringVar(&c.Version, "version", "", "")
		f.StringVar(&c.Cmdline, "cmdline", "", "")
		f.StringVar(&kernel, "kernel", "", "")
		f.StringVar(&initrd, "initrd", "", "")
		f.StringVar(&image, "uki", "", "")
		f.StringVar(&c.KernelName, "kernel-name", "", "")
		f.StringVar(&c.InitrdName, "initrd-name", "", "")
		f.StringVar(&out, "out", "", "")
	}, Run: func(_ context.Context, loaders []string) error {
		for _, value := range []string{c.Version, c.Cmdline, kernel, initrd, image, c.KernelName, c.InitrdName, out} {
			if value == "" {
				return cli.Misuse("all flags are needed")
			}
		}
		var failed error
		read := func(path string) []byte {
			b, err := os.ReadFile(path)
			failed = errors.Join(failed, err)
			return b
		}
		c.Kernel, c.Initrd, c.UKI, c.UKIName = read(kernel), read(initrd), read(image), filepath.Base(image)
		for _, loader := range loaders {
			c.Loaders = append(c.Loaders, read(loader))
		}
		if failed != nil {
			return failed
		}
		build, err := measurements.Predict(c)
		if err != nil {
			return err
		}
		text, err := build.JSON()
		if err != nil {
			return err
		}
		return os.WriteFile(out, text, 0o644)
	}}
}
