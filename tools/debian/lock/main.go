// Lock renews the locks of Debian packages: it resolves every .spec of the
// workspace, or the ones named, against the suites' present signed indexes,
// writes the .lock beside it, and shows what changed.
//
// It is run by `bazel run //tools/debian:lock [-- SPEC...]` and exits with 1 if
// a spec cannot be resolved, in which case the locks after it are as they were.
package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ember-os/ember/tools/lockdiff"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "lock: %v\n", err)
		os.Exit(1)
	}
}

func run(specs []string) error {
	workspace := os.Getenv("BUILD_WORKSPACE_DIRECTORY")
	if workspace == "" {
		return fmt.Errorf("this program changes the workspace: start it with bazel run //tools/debian:lock")
	}
	if err := os.Chdir(workspace); err != nil {
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
