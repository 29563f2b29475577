// Tidy formats the workspace and writes what is generated into it: Go files, BUILD
// and .bzl files, the Go rules in BUILD files, the Go
// repositories in MODULE.bazel, and pages of docs/.
//
//	bazel run //:tidy            changes what is not tidy
//	bazel test //:tidy_test      fails on it, by `tidy --check`
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

func main() {
	check := flag.Bool("check", false, "change nothing, fail if anything would change")
	module := flag.String("module", "", "the workspace's MODULE.bazel, as a runfiles `path`")
	gazelle := flag.String("gazelle", "", "gazelle, as a runfiles `path`")
	flag.Parse()
	if err := run(*check, *module, *gazelle); err != nil {
		fmt.Fprintf(os.Stderr, "tidy: %v\n", err)
		os.Exit(1)
	}
}

func run(check bool, module, gazelle string) error {
	workspace, err := findWorkspace(module)
	if err != nil {
		return err
	}
	files, err := list(workspace)
	if err != nil {
		return err
	}
	wanted, err := tidy(workspace, files)
	if err != nil {
		return err
	}
	var untidy []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		path := filepath.Join(workspace, name)
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
	stale, err := runGazelle(gazelle, workspace, check)
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
	if dir := os.Getenv("BUILD_WORKSPACE_DIRECTORY"); dir != "" {
		return dir, nil
	}
	path, err := runfiles.Rlocation(module)
	if err != nil {
		return "", err
	}
	path, err = filepath.EvalSymlinks(path)
	return filepath.Dir(path), err
}

// list gives the workspace's files, as slashed paths from its root.
func list(workspace string) (files []string, err error) {
	err = fs.WalkDir(os.DirFS(workspace), ".", func(path string, d fs.DirEntry, err error) error {
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
