package mounts

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/ember-os/ember/os/nstest"
	"golang.org/x/sys/unix"
)

func TestAll(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	failed, err := All(root, []Mount{
		{Type: "tmpfs", Target: "/run", Flags: nosuid | nodev | noexec, Data: "mode=0751", Needed: true},
		{Type: "tmpfs", Target: "/run/deep/er", Data: "mode=1777"},
		{Type: "devpts", Target: "/run/pts", Flags: nosuid | noexec, Data: "mode=0620,ptmxmode=0666"},
		{Type: "tmpfs", Target: "/absent", If: "/sys/firmware"},
		{Type: "tmpfs", Target: "/present", If: "/run"},
		{Type: "nosuchfs", Target: "/optional"},
		{Type: "tmpfs", Target: "/broken", Data: "nosuchoption"},
		{Type: "tmpfs", Target: "/last", Needed: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(failed) != 2 || failed[0].Error() != "mounting /optional: the kernel has no nosuchfs" || !strings.HasPrefix(failed[1].Error(), "mounting /broken: ") {
		t.Errorf("failed: %v", failed)
	}
	for path, mode := range map[string]uint32{"run": 0o751, "run/deep": 0o755, "run/deep/er": 0o1777, "last": 0o1777, "present": 0o1777} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(root, path), &st); err != nil || st.Mode != unix.S_IFDIR|mode {
			t.Errorf("%s has mode %#o, %v", path, st.Mode, err)
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Join(root, "run"), &fs); err != nil || fs.Type != unix.TMPFS_MAGIC ||
		fs.Flags&(unix.ST_NOSUID|unix.ST_NODEV|unix.ST_NOEXEC) != unix.ST_NOSUID|unix.ST_NODEV|unix.ST_NOEXEC {
		t.Errorf("run is %+v, %v", fs, err)
	}
	if _, err := os.Stat(filepath.Join(root, "run/pts/ptmx")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(root, "absent")); err == nil {
		t.Error("a mount was made whose condition does not hold")
	}

	failed, err = All(root, []Mount{
		{Type: "nosuchfs", Target: "/optional"},
		{Type: "nosuchfs", Target: "/needed", Needed: true},
		{Type: "tmpfs", Target: "/after"},
	})
	if len(failed) != 1 || err == nil || !strings.HasPrefix(err.Error(), "mounting /needed: ") {
		t.Errorf("a needed mount that fails: %v, %v", failed, err)
	}
	if _, err := os.Stat(filepath.Join(root, "after")); err == nil {
		t.Error("mounting went on after a needed mount failed")
	}
}

func TestLinkAll(t *testing.T) {
	root := t.TempDir()
	links := []Link{{"/a", "/proc/self/fd"}, {"/missing/b", "x"}}
	for range 2 {
		if failed := LinkAll(root, links); len(failed) != 1 || !strings.HasPrefix(failed[0].Error(), "linking /missing/b: ") {
			t.Errorf("failed: %v", failed)
		}
	}
	if target, err := os.Readlink(filepath.Join(root, "a")); target != "/proc/self/fd" {
		t.Errorf("a leads to %q, %v", target, err)
	}
}

func TestDelegateControllers(t *testing.T) {
	dir := t.TempDir()
	if _, failed := DelegateControllers(dir); len(failed) != 1 {
		t.Errorf("without controllers: %v", failed)
	}
	for name, content := range map[string]string{"cgroup.controllers": "cpu io\n", "cgroup.subtree_control": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, failed := DelegateControllers(dir)
	if !reflect.DeepEqual(got, []string{"cpu", "io"}) || failed != nil {
		t.Errorf("got %v, %v", got, failed)
	}
	if last, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control")); string(last) != "+io" {
		t.Errorf("wrote %q last", last)
	}
}

func TestTables(t *testing.T) {
	for _, table := range [][]Mount{Devices, System} {
		for i, m := range table {
			if !strings.HasPrefix(m.Target, "/") || filepath.Clean(m.Target) != m.Target || m.Flags&nosuid == 0 {
				t.Errorf("%+v", m)
			}
			for _, later := range table[i+1:] {
				if m.Target == later.Target || strings.HasPrefix(m.Target, later.Target+"/") {
					t.Errorf("%s is hidden by %s", m.Target, later.Target)
				}
			}
		}
	}
}
