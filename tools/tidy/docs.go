package main

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/bazelbuild/buildtools/build"

	"github.com/ember-os/ember/kernel/kconfig"
	"github.com/ember-os/ember/os/cmdline"
)

const generated = "<!-- Written by `bazel run //:tidy` from %s. -->\n\n# %s\n\n%s\n\n"

func kernelOptions(fragments []*kconfig.Fragment) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, generated, "kernel/fragments", "Kernel options",
		"What the kernel is asked for, and why, in the order of kernel/fragments. What is not here is off unless something\n"+
			"here needs it; the resolved configuration is in /proc/config.gz.")
	if err := kconfig.WriteDoc(&b, fragments); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

func parameters(groups []cmdline.Group) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, generated, "os/cmdline", "Kernel parameters",
		"What Ember reads from the kernel command line. The last of several wins, unless it says otherwise; an\n"+
			"empty value is the same as none; a value that cannot be used is reported on the console and the default\n"+
			"taken. As in the kernel, `-` and `_` are the same in a name, upper and lower case are not, and double\n"+
			"quotes enclose values with spaces.")
	for i, g := range groups {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "## %s\n\n| parameter | value | default | meaning |\n|---|---|---|---|\n", g.Name)
		for _, p := range g.Params {
			value := p.Type
			if p.Repeats {
				value += "; may be repeated"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", p.Name, cell(value), code(p.Default), cell(p.Doc))
		}
		if g.Doc != "" {
			fmt.Fprintf(&b, "\n%s\n", g.Doc)
		}
	}
	return b.Bytes()
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// rules documents each rule that a .bzl file of ours makes, by its doc attributes. An
// attribute without one is an error. What stands in for modules of the registry is left out.
func rules(files []*build.File) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, generated, "the .bzl files", "Rules",
		"The Bazel rules of this workspace and their attributes. A name that starts with `_` belongs to a\n"+
			"module extension, which MODULE.bazel calls.")
	for _, f := range files {
		if strings.HasPrefix(f.Path, standIns) {
			continue
		}
		shared := map[string]build.Expr{}
		first := true
		for _, statement := range f.Stmt {
			assign, ok := statement.(*build.AssignExpr)
			if !ok {
				continue
			}
			name, ok := assign.LHS.(*build.Ident)
			if !ok {
				continue
			}
			shared[name.Name] = assign.RHS
			call, ok := assign.RHS.(*build.CallExpr)
			if !ok || (callee(call) != "rule" && callee(call) != "repository_rule") {
				continue
			}
			if first {
				fmt.Fprintf(&b, "## //%s:%s\n\n", path.Dir(f.Path), path.Base(f.Path))
				first = false
			}
			fmt.Fprintf(&b, "### %s\n\n", name.Name)
			if doc := text(argument(call, "doc")); doc != "" {
				fmt.Fprintf(&b, "%s\n\n", doc)
			}
			b.WriteString("| attribute | kind | meaning |\n|---|---|---|\n")
			for _, a := range attributes(argument(call, "attrs"), shared) {
				if a.doc == "" {
					return nil, fmt.Errorf("%s: the attribute %s of %s has no doc", f.Path, a.name, name.Name)
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", a.name, a.kind, cell(a.doc))
			}
			b.WriteString("\n")
		}
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n'), nil
}

const standIns = "tools/bazelw/modules/"

type attribute struct{ name, kind, doc string }

// attributes reads a dictionary of attributes, following names and unions.
func attributes(e build.Expr, shared map[string]build.Expr) (found []attribute) {
	switch e := e.(type) {
	case *build.Ident:
		return attributes(shared[e.Name], shared)
	case *build.BinaryExpr:
		return append(attributes(e.X, shared), attributes(e.Y, shared)...)
	case *build.DictExpr:
		for _, entry := range e.List {
			name := text(entry.Key)
			value := entry.Value
			if ident, ok := value.(*build.Ident); ok {
				value = shared[ident.Name]
			}
			call, ok := value.(*build.CallExpr)
			if !ok || strings.HasPrefix(name, "_") {
				continue
			}
			kind := strings.TrimPrefix(callee(call), "attr.")
			if m, ok := argument(call, "mandatory").(*build.Ident); ok && m.Name == "True" {
				kind += ", required"
			}
			found = append(found, attribute{name, kind, text(argument(call, "doc"))})
		}
	}
	return found
}

func callee(call *build.CallExpr) string { return build.FormatString(call.X) }

func argument(call *build.CallExpr, name string) build.Expr {
	for _, e := range call.List {
		if assign, ok := e.(*build.AssignExpr); ok {
			if ident, ok := assign.LHS.(*build.Ident); ok && ident.Name == name {
				return assign.RHS
			}
		}
	}
	return nil
}

func text(e build.Expr) string {
	if s, ok := e.(*build.StringExpr); ok {
		return strings.TrimSpace(s.Value)
	}
	return ""
}
