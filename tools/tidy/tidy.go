package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"path"
	"path/filepath"

	"github.com/bazelbuild/buildtools/build"

	"github.com/ember-os/ember/kernel/kconfig"
	"github.com/ember-os/ember/os/cmdline"
)

// tidy gives what each file that has one right form should hold.
func tidy(workspace string, files []string) (map[string][]byte, error) {
	names, err := repositories(workspace)
	if err != nil {
		return nil, err
	}
	wanted := map[string][]byte{}
	var fragments []*kconfig.Fragment
	var bzl []*build.File
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(workspace, name))
		if err != nil {
			return nil, err
		}
		switch base := path.Base(name); {
		case path.Ext(base) == ".go":
			if wanted[name], err = format.Source(text); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		case base == "BUILD.bazel" || base == "MODULE.bazel" || path.Ext(base) == ".bzl":
			file, err := build.Parse(name, text)
			if err != nil {
				return nil, err
			}
			if path.Ext(base) == ".bzl" {
				bzl = append(bzl, file)
			}
			if name == "MODULE.bazel" {
				setUseRepo(file, names)
			}
			build.Rewrite(file)
			wanted[name] = build.Format(file)
		case path.Dir(name) == "kernel/fragments":
			f, err := kconfig.ParseFragment(name, bytes.NewReader(text))
			if err != nil {
				return nil, err
			}
			fragments = append(fragments, f)
		}
	}
	wanted["docs/kernel-options.md"] = kernelOptions(fragments)
	wanted["docs/parameters.md"] = parameters(cmdline.Groups)
	wanted["docs/rules.md"], err = rules(bzl)
	return wanted, err
}
