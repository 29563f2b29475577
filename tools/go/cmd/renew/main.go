// Renew takes the newest versions of the programs that are built from modules of this workspace below
// image/packages, shows what changed, and says what is to be run then.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"golang.org/x/mod/modfile"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/lockdiff"
	"github.com/ember-os/ember/tools/workspace"
)

const (
	target = "//tools/go/cmd/renew"
	next   = `next: ./bazelw run //image:lock pins the new versions in the image, or //image:image_test fails.
Before that ./bazelw run //tools/debian:lock renews iptables and nft, if they shall be new too.
`
	usage = `usage:
  bazel run ` + target + ` [-- FOLDER...]
    that is: renew --go PROGRAM [FOLDER...]

A requirement in go.mod may say what to look for: "// newest of v2.2". What the
module proxy has no list of stays as it is, which is said. PROGRAM is the SDK's, by
its runfiles' path. Without FOLDERs all modules below image/packages are renewed.
`
)

func main() {
	var program string
	os.Exit(cli.Run("renew", usage, os.Args[1:], cli.Command{
		Flags: func(f *flag.FlagSet) { f.StringVar(&program, "go", "", "") },
		Run:   func(_ context.Context, folders []string) error { return run(program, folders) },
	}))
}

func run(program string, folders []string) error {
	sdk, err := runfiles.Rlocation(program)
	if err != nil {
		return fmt.Errorf("finding Go: %w", err)
	}
	if sdk, err = filepath.EvalSymlinks(sdk); err != nil { // Go finds its own root from there
		return err
	}
	if err := workspace.Enter(target); err != nil {
		return err
	}
	if len(folders) == 0 {
		if folders, err = modules("image/packages"); err != nil {
			return err
		}
	}
	return renewAll(os.Stdout, sdk, folders)
}

// renewAll renews folders, and tells what is to be run next if a version changed.
func renewAll(out io.Writer, sdk string, folders []string) error {
	changed := false
	for _, folder := range folders {
		lines, err := renew(out, sdk, folder)
		if err != nil {
			return fmt.Errorf("renewing %s: %w", folder, err)
		}
		changed = changed || len(lines) > 0
		if len(lines) == 0 {
			lines = []string{"as it was"}
		}
		for _, line := range lines {
			fmt.Fprintf(out, "%s: %s\n", folder, line)
		}
	}
	if changed {
		fmt.Fprint(out, next)
	}
	return nil
}

// modules finds the folders of modules.
func modules(root string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "*", "*", "go.mod"))
	for i, file := range files {
		files[i] = filepath.Dir(file)
	}
	return files, err
}

// renew gives a line for each version that changed.
func renew(out io.Writer, sdk, folder string) ([]string, error) {
	before, queries, err := read(folder)
	if err != nil {
		return nil, err
	}
	for _, query := range queries {
		if err := command(sdk, folder, "get", query); err != nil {
			fmt.Fprintf(out, "%s: %s stays: %v\n", folder, query, err)
		}
	}
	// -e: tests of dependencies may import what no module has.
	if err := command(sdk, folder, "mod", "tidy", "-e"); err != nil {
		return nil, err
	}
	after, _, err := read(folder)
	if err != nil {
		return nil, err
	}
	return lockdiff.Lines(before, after), nil
}

// read gives the versions that a go.mod asks for itself, and what `go get` is to be asked.
func read(folder string) (versions map[string]string, queries []string, err error) {
	path := filepath.Join(folder, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	file, err := modfile.Parse(path, text, nil)
	if err != nil {
		return nil, nil, err
	}
	versions = map[string]string{}
	for _, r := range file.Require {
		if r.Indirect {
			continue
		}
		versions[r.Mod.Path] = r.Mod.Version
		queries = append(queries, r.Mod.Path+"@"+wanted(r.Syntax))
	}
	return versions, queries, nil
}

// wanted gives what go.mod says to look for in a comment behind a requirement.
func wanted(line *modfile.Line) string {
	for _, comment := range line.Suffix {
		if version, ok := strings.CutPrefix(comment.Token, "// newest of "); ok {
			version, _, _ = strings.Cut(version, ":")
			return strings.TrimSpace(version)
		}
	}
	return "upgrade"
}

func command(sdk, folder string, args ...string) error {
	c := exec.Command(sdk, args...)
	c.Dir = folder
	c.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOTOOLCHAIN=local", "GOWORK=off")
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
