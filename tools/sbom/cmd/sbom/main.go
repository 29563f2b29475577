// Command sbom completes and checks the SPDX document of an image.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

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
	if err := run(os.Args[1:]); err != nil {
		var wrong usageError
		if errors.As(err, &wrong) {
			fmt.Fprintf(os.Stderr, "sbom: %v\n%s", err, usage)
			os.Exit(2)
		}
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1)
	}
}

type usageError string

func (e usageError) Error() string { return string(e) }

type options struct {
	spdx, layout, arch, distribution, out               string
	program, imports, goMod, goSum, goVersion, licences string
	components                                          []string
}

func run(args []string) error {
	if len(args) == 0 {
		return usageError("no command given")
	}
	switch args[0] {
	case "build":
	case "licences":
		if len(args) != 2 {
			return usageError("one document is needed")
		}
		return check(args[1])
	case "help", "--help", "-h":
		fmt.Print(usage)
		return nil
	default:
		return usageError("no command " + args[0])
	}
	var o options
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for name, value := range map[string]*string{
		"spdx": &o.spdx, "layout": &o.layout, "arch": &o.arch, "distribution": &o.distribution, "out": &o.out,
		"program": &o.program, "imports": &o.imports, "go-mod": &o.goMod, "go-sum": &o.goSum,
		"go-version": &o.goVersion, "licences": &o.licences,
	} {
		flags.StringVar(value, name, "", "")
	}
	flags.Func("component", "", func(path string) error {
		o.components = append(o.components, path)
		return nil
	})
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		return nil
	} else if err != nil {
		return usageError(err.Error())
	}
	if o.spdx == "" || o.layout == "" || o.distribution == "" || o.out == "" || flags.NArg() > 0 {
		return usageError("--spdx, --layout, --distribution and --out are needed, and no arguments")
	}
	return build(&o)
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
