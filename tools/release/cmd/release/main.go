// Command release makes the folder that a build is published as.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/release"
)

const usage = `usage: release --release FILE --kernel FILE --initrd FILE --uki FILE --iso FILE --script FILE
               --measurements FILE --sbom FILE --config FILE --out FOLDER

Copies the files to the empty folder under the names that they are published as, with their
sums, HookOS's archive and an OCI image. The file of --release has the kernel's release.
`

func main() {
	os.Exit(cli.Run("release", usage, os.Args[1:], command()))
}

func command() cli.Command {
	var c release.Content
	var out, kernelRelease string
	files := map[string]*string{
		"release": &kernelRelease, "kernel": &c.Kernel, "initrd": &c.Initrd, "uki": &c.UKI, "iso": &c.ISO, "script": &c.Script,
		"measurements": &c.Measurements, "sbom": &c.SBOM, "config": &c.KernelConfig, "out": &out,
	}
	return cli.Command{Flags: func(f *flag.FlagSet) {
		for name, value := range files {
			f.StringVar(value, name, "", "")
		}
	}, Run: func(_ context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		for name, value := range files {
			if *value == "" {
				return cli.Misuse("--%s is needed", name)
			}
		}
		text, err := os.ReadFile(kernelRelease)
		if err != nil {
			return fmt.Errorf("reading the kernel's release: %w", err)
		}
		c.KernelRelease = strings.TrimSpace(string(text))
		return release.Write(out, c)
	}}
}
