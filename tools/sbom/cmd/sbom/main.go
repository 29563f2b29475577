// Command sbom completes and checks the SPDX document of an image.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/initrd"
	"github.com/ember-os/ember/tools/sbom"
)

const usage = `usage:
  sbom build --spdx FILE --layout DIR [--arch amd64] --distribution NAME --out FILE
             [--component FILE.json]...
             [--program PACKAGE --imports FILE --go-mod FILE --go-sum FILE --go-version VERSION --licences FILE]
  sbom licences FILE

build adds to the SPDX document that apko wrote the packages of the image in an
OCI layout, components described by JSON documents (Component in
github.com/ember-os/ember/tools/sbom), and the Go modules of the packages whose
import paths are in a file, one on a line, linked into the package PACKAGE.
licences fails if a package in the document declares no licence.
`

func main() {
	os.Exit(cli.Run("sbom", usage, os.Args[1:], buildCommand(), licencesCommand()))
}

type options struct {
	spdx, layout, arch, distribution, out               string
	program, imports, goMod, goSum, goVersion, licences string
	components                                          []string
}

func buildCommand() cli.Command {
	var o options
	return cli.Command{Name: "build", Flags: func(f *flag.FlagSet) {
		for name, value := range map[string]*string{
			"spdx": &o.spdx, "layout": &o.layout, "arch": &o.arch, "distribution": &o.distribution, "out": &o.out,
			"program": &o.program, "imports": &o.imports, "go-mod": &o.goMod, "go-sum": &o.goSum,
			"go-version": &o.goVersion, "licences": &o.licences,
		} {
			f.StringVar(value, name, "", "")
		}
		f.Func("component", "", func(path string) error {
			o.components = append(o.components, path)
			return nil
		})
	}, Run: func(_ context.Context, args []string) error {
		if o.spdx == "" || o.layout == "" || o.distribution == "" || o.out == "" {
			return cli.Misuse("--spdx, --layout, --distribution and --out are needed")
		}
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return build(&o)
	}}
}

func licencesCommand() cli.Command {
	return cli.Command{Name: "licences", Run: func(_ context.Context, args []string) error {
		if len(args) != 1 {
			return cli.Misuse("one document is needed")
		}
		return check(args[0])
	}}
}

func check(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	doc, err := sbom.Parse(data)
	if err != nil {
		return err
	}
	return doc.CheckLicences()
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
	if err := doc.AddPackages(packages, o.distribution); err != nil {
		return err
	}
	if o.program != "" {
		if err := addModules(doc, o); err != nil {
			return err
		}
	}
	for _, path := range o.components {
		if err := addComponent(doc, path); err != nil {
			return err
		}
	}
	out, err := doc.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, out, 0o644)
}

func addModules(doc *sbom.Document, o *options) error {
	texts := map[string][]byte{}
	for _, path := range []string{o.imports, o.goMod, o.goSum, o.licences} {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		texts[path] = data
	}
	licences, err := sbom.ParseLicences(string(texts[o.licences]))
	if err != nil {
		return fmt.Errorf("%s: %w", o.licences, err)
	}
	program := sbom.Program{
		Imports:   strings.Fields(string(texts[o.imports])),
		GoMod:     texts[o.goMod],
		GoSum:     texts[o.goSum],
		GoVersion: o.goVersion,
		Licences:  licences,
	}
	modules, err := program.Modules()
	if err != nil {
		return err
	}
	return doc.AddModules(o.program, modules)
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
