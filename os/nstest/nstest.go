// Package nstest runs a test of ours as root of its own namespaces, so that what
// only root may do (mount, chroot, kill everything, reboot) is tested without
// privileges and without harm.
package nstest

import (
	"bytes"
	"errors"
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
	judge(t, out, err)
	return false
}

// User is a user and a group that are not root.
const User = 1

// InsideWithUser is Inside for a test that wants User, too. It skips the test where that is not to be had, which takes
// root.
func InsideWithUser(t *testing.T, flags uintptr) bool {
	t.Helper()
	if os.Getenv(marker) != "" {
		return true
	}
	cmd := Command(t, flags)
	user := syscall.SysProcIDMap{ContainerID: User, HostID: User, Size: 1}
	cmd.SysProcAttr.UidMappings = append(cmd.SysProcAttr.UidMappings, user)
	cmd.SysProcAttr.GidMappings = append(cmd.SysProcAttr.GidMappings, user)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("there is no other user for us: %v", err)
	}
	judge(t, out, err)
	return false
}

// judge fails the test if it did in the namespaces, and says what it left out there.
func judge(t *testing.T, out []byte, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("in its namespaces: %v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("the test did not run in its namespaces:\n%s", out)
	}
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte("--- SKIP: ")) {
			t.Logf("in its namespaces: %s", bytes.TrimSpace(line))
		}
	}
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
