package containerd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/nstest"
	"golang.org/x/sys/unix"
)

// prepare prepares a machine and gives what was logged of it.
func prepare(t *testing.T, m machine, log *bytes.Buffer) string {
	t.Helper()
	log.Reset()
	t.Cleanup(func() {
		for _, dir := range append(stateDirs, scratchDir) {
			unix.Unmount(m.path(dir), 0) // an error if there is nothing to unmount
		}
	})
	if err := m.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return log.String()
}

// TestMemory mounts memory, once.
func TestMemory(t *testing.T) {
	if !nstest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	m, log := newMachine(t, "ember.containers=16M")
	for range 2 {
		if got := prepare(t, m, log); got != "" {
			t.Errorf("logged %q", got)
		}
		m.put(t, stateDir+"/a", "kept")
		m.put(t, nerdctlDir+"/b", "kept")
	}
	if m.get(t, scratchDir+"/containerd/a") != "kept" || m.get(t, scratchDir+"/nerdctl/b") != "kept" {
		t.Error("the places are not parts of one filesystem")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(m.path(stateDir), &st); err != nil || st.Type != unix.TMPFS_MAGIC || st.Blocks*uint64(st.Bsize) != 16<<20 {
		t.Errorf("%v, %+v", err, st)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if n := bytes.Count(mounts, []byte(" "+m.root)); err != nil || n != 3 {
		t.Errorf("%d mounts, %v", n, err)
	}
	for _, s := range sysctls {
		if got := m.get(t, "/proc/sys/"+s.name); strings.TrimSpace(got) != s.value {
			t.Errorf("%s is %q", s.name, got)
		}
	}
	if info, err := os.Stat(m.path(netConfigDir)); err != nil || !info.IsDir() {
		t.Error(info, err)
	}
}

// TestShare has the default size.
func TestShare(t *testing.T) {
	if !nstest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	m, log := newMachine(t, "")
	if got := prepare(t, m, log); got != "" {
		t.Errorf("logged %q", got)
	}
	var memory unix.Sysinfo_t
	var st unix.Statfs_t
	if err := errors.Join(unix.Sysinfo(&memory), unix.Statfs(m.path(stateDir), &st)); err != nil {
		t.Fatal(err)
	}
	share := float64(st.Blocks) * float64(st.Bsize) / (float64(memory.Totalram) * float64(memory.Unit))
	if share < 0.69 || share > 0.71 {
		t.Errorf("the share of the memory is %v", share)
	}
}

// TestDisk mounts another tmpfs for a disk.
func TestDisk(t *testing.T) {
	if !nstest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	m, log := newMachine(t, "ember.scratch=SERIAL=abc")
	times := 0
	m.disk = func(_ context.Context, _ *slog.Logger, disk cmdline.Disk, target string) error {
		times++
		if disk != (cmdline.Disk{Tag: cmdline.Serial, Value: "abc"}) {
			t.Errorf("the disk is %v", disk)
		}
		return errors.Join(os.MkdirAll(target, 0o755), unix.Mount("tmpfs", target, "tmpfs", 0, "size=1M"))
	}
	for range 2 {
		if got := prepare(t, m, log); got != "" {
			t.Errorf("logged %q", got)
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(m.path(nerdctlDir), &st); err != nil || st.Blocks*uint64(st.Bsize) != 1<<20 || times != 1 {
		t.Errorf("%v, %+v, %d times", err, st, times)
	}
}

// TestNoDisk: memory is used where the disk can not be. Files that are there already
// are not hidden.
func TestNoDisk(t *testing.T) {
	if !nstest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	m, log := newMachine(t, "ember.scratch=/dev/sda ember.containers=1M")
	m.disk = func(context.Context, *slog.Logger, cmdline.Disk, string) error { return errors.New("it has data") }
	m.put(t, stateDir+"/theirs", "")
	got := prepare(t, m, log)
	want := "<3>images and containers are kept in memory err=\"it has data\"\n" +
		"<3>images and containers are kept with all other files err=\"/var/lib/containerd is not on /run/ember/scratch: it holds files already\"\n"
	if got != want {
		t.Errorf("logged %q", got)
	}
	m.get(t, stateDir+"/theirs")
	if mounted, err := isMounted(m.path(nerdctlDir)); err != nil || !mounted {
		t.Errorf("mounted %v, %v", mounted, err)
	}
}

func TestSysctls(t *testing.T) {
	m, log := newMachine(t, "")
	for _, s := range sysctls {
		if err := os.Remove(m.path("/proc/sys", s.name)); err != nil {
			t.Fatal(err)
		}
	}
	errs := m.setSysctls()
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "ip_forward") {
		t.Errorf("%v, %s", errs, log)
	}
}
