// Package workspace finds the workspace for programs that change it. Bazel tells them where it is if they are started by
// bazel run; there is no other way, since they run in a folder of Bazel's.
package workspace

import (
	"fmt"
	"os"
)

// variable is set by bazel run, see its page in Bazel's manual.
const variable = "BUILD_WORKSPACE_DIRECTORY"

// Dir gives the workspace's directory. The target is the one that people are told to run.
func Dir(target string) (string, error) {
	if dir := os.Getenv(variable); dir != "" {
		return dir, nil
	}
	return "", fmt.Errorf("this program changes the workspace: start it by bazel run %s", target)
}

// Enter makes it the working directory.
func Enter(target string) error {
	dir, err := Dir(target)
	if err != nil {
		return err
	}
	return os.Chdir(dir)
}
