// Package runfile finds files that command lines name: Bazel by their place in the runfiles, people by a path.
package runfile

import (
	"os"
	"path/filepath"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// Locate is where a file is. A relative path is one in the runfiles if there is such a file, else it is relative to
// where Bazel was called.
func Locate(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	if p, err := runfiles.Rlocation(path); err == nil {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return filepath.Join(os.Getenv("BUILD_WORKING_DIRECTORY"), path)
}
