// Lock renews the locks of Debian packages: it resolves every .spec of the
// workspace, or the ones named, against the suites' present signed indexes,
// writes the .lock beside it, and shows what changed.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/tools/lockdiff"
	"github.com/ember-os/ember/tools/workspace"
)

const (
	target = "//tools/debian:lock"
	usage  = `usage:
  bazel run ` + target + ` [-- SPEC...]

Renews the locks of the specs, or of all in the workspace. If one cannot be
resolved the locks after it are as they were.
`
)

func main() {
	os.Exit(cli.Run("lock", usage, os.Args[1:], cli.Command{
		Run: func(_ context.Context, specs []string) error { return run(specs) },
	}))
}

func run(specs []string) error {
	if err := workspace.Enter(target); err != nil {
		return err
	}
	if len(specs) == 0 {
		var err error
		if specs, err = find("."); err != nil {
			return err
		}
	}
	for _, spec := range specs {
		if err := renew(spec); err != nil {
			return fmt.Errorf("renewing the lock of %s: %w", spec, err)
		}
	}
	return nil
}

func find(root string) (specs []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case strings.HasSuffix(path, ".spec"):
			specs = append(specs, path)
		}
		return nil
	})
	return specs, err
}

func renew(spec string) error {
	path := strings.TrimSuffix(spec, ".spec") + ".lock"
	before, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	resolve := exec.Command("bash", "tools/debian/debian.sh", "lock", spec)
	resolve.Stderr = os.Stderr
	after, err := resolve.Output()
	if err != nil {
		return err
	}
	if bytes.Equal(before, after) {
		fmt.Printf("%s: nothing changed\n", path)
		return nil
	}
	fmt.Printf("%s:\n", path)
	for _, line := range lockdiff.Lines(versions(before), versions(after)) {
		fmt.Printf("  %s\n", line)
	}
	return os.WriteFile(path, after, 0o644)
}

// versions maps a lock's packages to their versions.
func versions(lock []byte) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(string(lock)) {
		if f := strings.Fields(line); len(f) == 7 && f[0] == "deb" {
			found[f[1]] = f[2]
		}
	}
	return found
}
