// Tidy formats the workspace and writes what is generated into it: Go files, BUILD
// and .bzl files, the Go rules in BUILD files, the Go
// repositories in MODULE.bazel, and pages of docs/.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/workspace"
)

const (
	target = "//:tidy"
	usage  = `usage:
  bazel run ` + target + `
    that is: tidy --gazelle PROGRAM [--check --module FILE]

Changes what is not tidy; with --check it changes nothing and fails on it. PROGRAM
and MODULE.bazel, which is how the workspace is found in a test, are named by their
runfiles' paths.
`
)

func main() {
	var check bool
	var module, gazelle string
	os.Exit(cli.Run("tidy", usage, os.Args[1:], cli.Command{Flags: func(f *flag.FlagSet) {
		f.BoolVar(&check, "check", false, "")
		f.StringVar(&module, "module", "", "")
		f.StringVar(&gazelle, "gazelle", "", "")
	}, Run: func(_ context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return run(check, module, gazelle)
	}}))
}

func run(check bool, module, gazelle string) error {
	dir, err := findWorkspace(module)
	if err != nil {
		return err
	}
	files, err := list(dir)
	if err != nil {
		return err
	}
	wanted, err := tidy(dir, files)
	if err != nil {
		return err
	}
	var untidy []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		path := filepath.Join(dir, name)
		if is, err := os.ReadFile(path); err == nil && bytes.Equal(is, wanted[name]) {
			continue
		}
		untidy = append(untidy, name)
		if !check {
			if err := os.WriteFile(path, wanted[name], 0o644); err != nil {
				return err
			}
		}
	}
	stale, err := runGazelle(gazelle, dir, check)
	if err != nil {
		return err
	}
	if !check {
		return nil
	}
	if len(untidy) > 0 || stale != "" {
		return fmt.Errorf("not tidy, run `bazel run //:tidy`:\n%s\n%s", strings.Join(untidy, "\n"), stale)
	}
	fmt.Printf("%d files are tidy\n", len(files))
	return nil
}

// findWorkspace follows the sandbox's link to a file of the workspace, because
// tidiness is a property of all files and no target has them all as its inputs.
func findWorkspace(module string) (string, error) {
	dir, err := workspace.Dir(target)
	if err == nil || module == "" {
		return dir, err
	}
	path, err := runfiles.Rlocation(module)
	if err != nil {
		return "", err
	}
	path, err = filepath.EvalSymlinks(path)
	return filepath.Dir(path), err
}

// list gives the workspace's files, as slashed paths from its root.
func list(dir string) (files []string, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.Type().IsRegular():
			files = append(files, path)
		}
		return nil
	})
	return files, err
}
