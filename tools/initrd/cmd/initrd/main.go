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
  initrd pack --layout DIR [--arch amd64] --image NAME=PACKAGE[,PACKAGE...] --out TAR
  initrd build --layout DIR [--arch amd64] --first PACKAGE[,PACKAGE...]=FILE --rest FILE
               [--packed FILE {--image NAME=PACKAGE[,PACKAGE...] --squashfs FILE}...]
  initrd compress [--window BYTES] --out FILE ARCHIVE
  initrd join --out FILE ARCHIVE...

pack writes the large files of some packages, in an OCI layout, for sqfstar.
build writes cpio archives of the layout: what the packages after --first own,
with /init and the manifest; the rest, with links to what was packed; and the
images that sqfstar has made of that. compress packs an archive with zstd for the
kernel. join puts archives in a row, which is an initrd, in the order above.
`

func main() {
	os.Exit(cli.Run("initrd", usage, os.Args[1:], packCommand(), buildCommand(), compressCommand(), joinCommand()))
}

func packCommand() cli.Command {
	var dir, arch, image, out string
	return cli.Command{Name: "pack", Flags: func(f *flag.FlagSet) {
		f.StringVar(&dir, "layout", "", "")
		f.StringVar(&arch, "arch", "", "")
		f.StringVar(&image, "image", "", "")
		f.StringVar(&out, "out", "", "")
	}, Run: func(_ context.Context, args []string) error {
		if dir == "" || image == "" || out == "" {
			return cli.Misuse("--layout, --image and --out are needed")
		}
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return pack(dir, arch, image, out)
	}}
}

func buildCommand() cli.Command {
	var b builder
	return cli.Command{Name: "build", Flags: func(f *flag.FlagSet) {
		f.StringVar(&b.layout, "layout", "", "")
		f.StringVar(&b.arch, "arch", "", "")
		f.StringVar(&b.first, "first", "", "")
		f.StringVar(&b.rest, "rest", "", "")
		f.StringVar(&b.packed, "packed", "", "")
		f.Func("image", "", func(v string) error { b.images = append(b.images, v); return nil })
		f.Func("squashfs", "", func(v string) error { b.squashfs = append(b.squashfs, v); return nil })
	}, Run: func(_ context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return b.build()
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

func pack(dir, arch, image, out string) error {
	t, err := initrd.Load(dir, arch)
	if err != nil {
		return err
	}
	entries, err := take(t, image)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return create(out, func(w io.Writer) error { return initrd.WriteTar(w, entries) })
}

// take is Pack with an image as --image has it.
func take(t *tree.Tree, image string) ([]tree.Entry, error) {
	name, packages, ok := strings.Cut(image, "=")
	if !ok {
		return nil, cli.Misuse("--image is NAME=PACKAGE[,PACKAGE...]")
	}
	return initrd.Pack(t, name, strings.Split(packages, ","))
}

// builder is the flags of build.
type builder struct {
	layout, arch, first, rest, packed string
	images, squashfs                  []string
}

func (b builder) build() error {
	packages, firstPath, ok := strings.Cut(b.first, "=")
	if b.layout == "" || !ok || b.rest == "" {
		return cli.Misuse("--layout, --first PACKAGE=FILE and --rest are needed")
	}
	if len(b.images) != len(b.squashfs) || (b.packed == "") != (len(b.images) == 0) {
		return cli.Misuse("--packed needs --image, each with --squashfs")
	}
	t, err := initrd.Load(b.layout, b.arch)
	if err != nil {
		return err
	}
	for i := range b.images {
		if err := b.replace(t, i); err != nil {
			return fmt.Errorf("%s: %w", b.layout, err)
		}
	}
	a, err := initrd.Split(t, strings.Split(packages, ","))
	if err != nil {
		return fmt.Errorf("%s: %w", b.layout, err)
	}
	write := func(path string, entries []tree.Entry) error {
		return create(path, func(w io.Writer) error { return initrd.WriteArchive(w, entries) })
	}
	err = errors.Join(write(firstPath, a.First), write(b.rest, a.Rest))
	if b.packed != "" {
		err = errors.Join(err, write(b.packed, a.Packed))
	}
	return err
}

// replace has links take the places of what is in an image, and adds that.
func (b builder) replace(t *tree.Tree, i int) error {
	if _, err := take(t, b.images[i]); err != nil {
		return err
	}
	squashfs, err := os.ReadFile(b.squashfs[i])
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(b.images[i], "=")
	return initrd.AddImage(t, name, squashfs)
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
