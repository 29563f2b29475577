// Command initrd makes the archives of an initrd of an OCI image layout.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/initrd"
	"github.com/ember-os/ember/tools/initrd/tree"
)

const usage = `usage:
  initrd build --layout DIR [--arch amd64] --first PACKAGE[,PACKAGE...]=FILE --rest FILE
  initrd compress [--window BYTES] --out FILE ARCHIVE
  initrd join --out FILE ARCHIVE...

build writes two cpio archives of the image in an OCI layout: what the named
packages own, with /init and the manifest, and the rest. compress packs an
archive with zstd for the kernel. join puts archives in a row, which is an
initrd; the one with /init comes first.
`

func main() {
	os.Exit(cli.Run("initrd", usage, os.Args[1:], buildCommand(), compressCommand(), joinCommand()))
}

func buildCommand() cli.Command {
	var dir, arch, first, rest string
	return cli.Command{Name: "build", Flags: func(f *flag.FlagSet) {
		f.StringVar(&dir, "layout", "", "")
		f.StringVar(&arch, "arch", "", "")
		f.StringVar(&first, "first", "", "")
		f.StringVar(&rest, "rest", "", "")
	}, Run: func(_ context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return build(dir, arch, first, rest)
	}}
}

func compressCommand() cli.Command {
	var out string
	var window int
	return cli.Command{Name: "compress", Flags: func(f *flag.FlagSet) {
		f.StringVar(&out, "out", "", "")
		f.IntVar(&window, "window", initrd.DefaultWindow, "")
	}, Run: func(_ context.Context, archives []string) error { return compress(out, window, archives) }}
}

func joinCommand() cli.Command {
	var out string
	return cli.Command{Name: "join", Flags: func(f *flag.FlagSet) {
		f.StringVar(&out, "out", "", "")
	}, Run: func(_ context.Context, archives []string) error { return join(out, archives) }}
}

func build(dir, arch, firstFlag, restPath string) error {
	packages, firstPath, ok := strings.Cut(firstFlag, "=")
	if dir == "" || !ok || restPath == "" {
		return cli.Misuse("--layout, --first PACKAGE=FILE and --rest are needed")
	}
	t, err := initrd.Load(dir, arch)
	if err != nil {
		return err
	}
	first, rest, err := initrd.Split(t, strings.Split(packages, ","))
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	write := func(entries []tree.Entry) func(io.Writer) error {
		return func(w io.Writer) error { return initrd.WriteArchive(w, entries) }
	}
	return errors.Join(create(firstPath, write(first)), create(restPath, write(rest)))
}

func compress(out string, window int, archives []string) error {
	if out == "" || len(archives) != 1 {
		return cli.Misuse("--out and one archive are needed")
	}
	data, err := os.ReadFile(archives[0])
	if err != nil {
		return err
	}
	return create(out, func(w io.Writer) error { return initrd.Compress(w, data, window) })
}

func join(out string, archives []string) error {
	if out == "" || len(archives) == 0 {
		return cli.Misuse("--out and archives are needed")
	}
	var all [][]byte
	for _, path := range archives {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		all = append(all, data)
	}
	return create(out, func(w io.Writer) error { return initrd.Join(w, all...) })
}

// create writes a file, buffered.
func create(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(write(b), b.Flush(), f.Close())
}
