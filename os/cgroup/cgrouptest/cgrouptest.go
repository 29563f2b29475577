// Package cgrouptest finds a place for the cgroups of a test.
package cgrouptest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cgroup"
)

// Dir makes a cgroup that lives as long as the test, and skips the test where it is
// not allowed to.
func Dir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(mountPoint(t), own(t)), "ember-test-")
	if err != nil {
		t.Skipf("no cgroups of our own: %v", err)
	}
	t.Cleanup(func() {
		g := cgroup.Group{Dir: dir}
		if err := g.Kill(); err != nil {
			t.Error(err)
		}
		for limit := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			err := g.Remove()
			if err == nil {
				return
			}
			if time.Now().After(limit) {
				t.Error(err)
				return
			}
		}
	})
	return dir
}

// mountPoint finds the hierarchy in the lines of /proc/self/mountinfo, see
// proc_pid_mountinfo(5).
func mountPoint(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		mount, fs, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(mount); strings.HasPrefix(fs, "cgroup2 ") && len(fields) > 4 {
			return fields[4]
		}
	}
	t.Skip("there is no cgroup2 filesystem")
	return ""
}

// own is our own cgroup's path.
func own(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		if path, found := strings.CutPrefix(line, "0::"); found {
			return strings.TrimSpace(path)
		}
	}
	t.Skip("this process is in no cgroup")
	return ""
}
