// Command initrd makes the archives of an initrd of an OCI image layout.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

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
	if err := run(os.Args[1:]); err != nil {
		var wrong usageError
		if errors.As(err, &wrong) {
			fmt.Fprintf(os.Stderr, "initrd: %v\n%s", err, usage)
			os.Exit(2)
		}
		fmt.Fprintf(os.Stderr, "initrd: %v\n", err)
		os.Exit(1)
	}
}

type usageError string

func (e usageError) Error() string { return string(e) }

func run(args []string) error {
	if len(args) == 0 {
		return usageError("no command given")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var command func() error
	switch args[0] {
	case "build":
		dir := flags.String("layout", "", "")
		arch := flags.String("arch", "", "")
		first := flags.String("first", "", "")
		rest := flags.String("rest", "", "")
		command = func() error { return build(*dir, *arch, *first, *rest) }
	case "compress":
		out := flags.String("out", "", "")
		window := flags.Int("window", initrd.DefaultWindow, "")
		command = func() error { return compress(*out, *window, flags.Args()) }
	case "join":
		out := flags.String("out", "", "")
		command = func() error { return join(*out, flags.Args()) }
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
	return command()
}

func build(dir, arch, firstFlag, restPath string) error {
	packages, firstPath, ok := strings.Cut(firstFlag, "=")
	if dir == "" || !ok || restPath == "" {
		return usageError("--layout, --first PACKAGE=FILE and --rest are needed")
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
		return usageError("--out and one archive are needed")
	}
	data, err := os.ReadFile(archives[0])
	if err != nil {
		return err
	}
	return create(out, func(w io.Writer) error { return initrd.Compress(w, data, window) })
}

func join(out string, archives []string) error {
	if out == "" || len(archives) == 0 {
		return usageError("--out and archives are needed")
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
