package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ember-os/ember/tools/apk"
	"github.com/ember-os/ember/tools/initrd/tree"
	"github.com/ember-os/ember/tools/sbom"
)

// addModules adds what is linked into the programs of the image.
func addModules(doc *sbom.Document, o *options, image *tree.Tree, packages []apk.Installed) error {
	facts, err := readFacts(o)
	if err != nil {
		return err
	}
	for _, p := range packages {
		var modules []sbom.Component
		for _, path := range p.Paths {
			file, ok := image.File(path)
			if !ok {
				continue // a directory
			}
			built, err := sbom.Built(bytes.NewReader(file.Data), facts)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			for _, m := range built {
				if !slices.Contains(modules, m) { // another program of the package has it too
					modules = append(modules, m)
				}
			}
		}
		if err := doc.AddModules(p.Name, modules); err != nil {
			return err
		}
	}
	if o.program == "" {
		return nil
	}
	imports, err := os.ReadFile(o.imports)
	if err != nil {
		return err
	}
	program := sbom.Program{Imports: strings.Fields(string(imports)), GoVersion: o.goVersion}
	if program.GoMod, err = os.ReadFile(o.goMod); err != nil {
		return err
	}
	modules, err := program.Modules(facts)
	if err != nil {
		return err
	}
	return doc.AddModules(o.program, modules)
}

func readFacts(o *options) (facts sbom.Facts, err error) {
	facts.Sums = sbom.Sums{}
	for _, path := range o.goSums {
		text, err := os.ReadFile(path)
		if err != nil {
			return facts, err
		}
		if err := facts.Sums.Add(text); err != nil {
			return facts, fmt.Errorf("%s: %w", path, err)
		}
	}
	text, err := os.ReadFile(o.licences)
	if err != nil {
		return facts, err
	}
	if facts.Licences, err = sbom.ParseLicences(string(text)); err != nil {
		return facts, fmt.Errorf("%s: %w", o.licences, err)
	}
	return facts, nil
}
