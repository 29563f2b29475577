// Package nstest runs a test of ours as root of its own namespaces, so that what
// only root may do (mount, chroot, kill everything, reboot) is tested without
// privileges and without harm.
package nstest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// marker is set in the environment of the process inside the namespaces.
const marker = "EMBER_NSTEST"

// Inside tells whether the test already runs in the namespaces. If not, it runs
// the test again there, in a new user namespace and those that flags name, and
// fails the test if that one does:
//
//	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
//		return
//	}
func Inside(t *testing.T, flags uintptr) bool {
	t.Helper()
	if os.Getenv(marker) != "" {
		return true
	}
	out, err := Command(t, flags).CombinedOutput()
	if err != nil {
		t.Fatalf("in its namespaces: %v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("the test did not run in its namespaces:\n%s", out)
	}
	return false
}

// Command is the command that runs the test in new namespaces, for tests that
// want to look at how it ends.
func Command(t *testing.T, flags uintptr) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | flags,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	return cmd
}
