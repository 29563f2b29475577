// Command sbom completes the SPDX document of an image.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/apko/lock"
	"github.com/ember-os/ember/tools/initrd"
	"github.com/ember-os/ember/tools/sbom"
)

const usage = `usage:
  sbom build --spdx FILE --layout DIR [--arch amd64] --lock FILE --distribution NAME [--public ADDRESS=NAME]... --out FILE
             [--component FILE.json]... [--go-sum FILE]... --licences FILE
             [--debian-lock FILE --debian NAME=LICENCE...]
             [--program PACKAGE --imports FILE --go-mod FILE --go-version VERSION]

build adds to the SPDX document that apko wrote: the packages of the image in an OCI
layout, which are those of the distribution NAME or, if the lock has an address for
them, of the one whose repositories begin with ADDRESS; the Go modules that their
programs say they were built of, with sums and licences from files; components described
by JSON documents (Component in github.com/ember-os/ember/tools/sbom) or by a lock of
Debian packages, without their licences. A program that does not say so is in PACKAGE,
and the import paths of what is linked into it are in a file, one on a line.
`

func main() {
	os.Exit(cli.Run("sbom", usage, os.Args[1:], buildCommand()))
}

type options struct {
	spdx, layout, arch, lock, distribution, out string
	program, imports, goMod, goVersion          string
	licences                                    string
	debianLock                                  string
	public, debian                              map[string]string
	components, goSums                          []string
}

func buildCommand() cli.Command {
	o := options{public: map[string]string{}, debian: map[string]string{}}
	return cli.Command{Name: "build", Flags: func(f *flag.FlagSet) {
		for name, value := range map[string]*string{
			"spdx": &o.spdx, "layout": &o.layout, "arch": &o.arch, "lock": &o.lock, "distribution": &o.distribution, "out": &o.out,
			"program": &o.program, "imports": &o.imports, "go-mod": &o.goMod, "go-version": &o.goVersion, "licences": &o.licences,
			"debian-lock": &o.debianLock,
		} {
			f.StringVar(value, name, "", "")
		}
		for name, values := range map[string]*[]string{"component": &o.components, "go-sum": &o.goSums} {
			f.Func(name, "", func(path string) error {
				*values = append(*values, path)
				return nil
			})
		}
		for name, pairs := range map[string]map[string]string{"public": o.public, "debian": o.debian} {
			f.Func(name, "", func(arg string) error {
				key, value, ok := strings.Cut(arg, "=")
				if !ok || value == "" {
					return errors.New("want two words with = between them")
				}
				pairs[key] = value
				return nil
			})
		}
	}, Run: func(_ context.Context, args []string) error {
		if o.spdx == "" || o.layout == "" || o.lock == "" || o.distribution == "" || o.licences == "" || o.out == "" {
			return cli.Misuse("--spdx, --layout, --lock, --distribution, --licences and --out are needed")
		}
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return build(&o)
	}}
}

func build(o *options) error {
	data, err := os.ReadFile(o.spdx)
	if err != nil {
		return err
	}
	doc, err := sbom.Parse(data)
	if err != nil {
		return err
	}
	image, err := initrd.Load(o.layout, o.arch)
	if err != nil {
		return err
	}
	packages, err := initrd.Installed(image)
	if err != nil {
		return fmt.Errorf("%s: %w", o.layout, err)
	}
	origins, err := readOrigins(o)
	if err != nil {
		return err
	}
	if err := doc.AddPackages(packages, origins); err != nil {
		return err
	}
	if err := addModules(doc, o, image, packages); err != nil {
		return err
	}
	for _, path := range o.components {
		if err := addComponent(doc, path); err != nil {
			return err
		}
	}
	if err := addDebian(doc, o); err != nil {
		return err
	}
	out, err := doc.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, out, 0o644)
}

func readOrigins(o *options) (sbom.Origins, error) {
	origins := sbom.Origins{Own: o.distribution, Public: map[string]string{}, Known: o.public}
	data, err := os.ReadFile(o.lock)
	if err != nil {
		return origins, err
	}
	l, err := lock.Parse(data)
	if err != nil {
		return origins, fmt.Errorf("%s: %w", o.lock, err)
	}
	for _, p := range l.Contents.Packages {
		origins.Public[p.Name] = p.URL
	}
	return origins, nil
}

func addComponent(doc *sbom.Document, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var c sbom.Component
	if err := decoder.Decode(&c); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return doc.AddComponent(c)
}

func addDebian(doc *sbom.Document, o *options) error {
	if len(o.debian) == 0 {
		return nil
	}
	lock, err := os.ReadFile(o.debianLock)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(o.debian)) {
		c, err := sbom.Debian(lock, name, o.debian[name])
		if err == nil {
			err = doc.AddComponent(c)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.debianLock, err)
		}
	}
	return nil
}
