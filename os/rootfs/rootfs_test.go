package rootfs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ember-os/ember/os/nstest"
	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEnter has a tmpfs with other mounts on it for a root, as init has. That the
// kernel's own first root can be left in this way is for a virtual machine to show.
func TestEnter(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	dir := t.TempDir()
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	proc := filepath.Join(dir, "proc")
	must(t, os.Mkdir(proc, 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "run"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "run/hidden"), nil, 0o644))
	must(t, unix.Mount("/proc", proc, "", unix.MS_BIND|unix.MS_REC, ""))
	must(t, unix.Mount("tmpfs", filepath.Join(dir, "run"), "tmpfs", 0, ""))
	must(t, unix.Chroot(dir))
	must(t, os.Chdir("/"))
	must(t, os.WriteFile("/run/visible", nil, 0o644))

	c, err := New()
	must(t, err)
	if _, err := os.Stat(c.Path() + "/run/hidden"); err != nil {
		t.Errorf("the clone shows what is mounted on the root: %v", err)
	}
	must(t, c.Enter("/proc", "/run"))
	for path, want := range map[string]bool{"/run/visible": true, "/run/hidden": false, "/proc/self/mounts": true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	must(t, Resize(25))
	var fs unix.Statfs_t
	must(t, unix.Statfs("/", &fs))
	var info unix.Sysinfo_t
	must(t, unix.Sysinfo(&info))
	if size, quarter := fs.Blocks*uint64(fs.Bsize), info.Totalram*uint64(info.Unit)/4; size > quarter+uint64(fs.Bsize) || size < quarter/2 { // whole pages
		t.Errorf("size %d is not a quarter of the memory, %d", size, quarter)
	}

	table, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(table)) {
		if words := strings.Fields(line); (words[4] == "/" || words[4] == "/run") && !strings.HasPrefix(words[6], "shared:") {
			t.Errorf("not shared: %s", line)
		}
	}

	// What a container runtime does, in its own namespace.
	must(t, unix.Unshare(unix.CLONE_NEWNS))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, os.Mkdir("/container", 0o755))
	must(t, unix.Mount("tmpfs", "/container", "tmpfs", 0, ""))
	must(t, os.Mkdir("/container/old", 0o755))
	if err := unix.PivotRoot("/container", "/container/old"); err != nil {
		t.Errorf("pivoting from the new root: %v", err)
	}
	if _, err := os.Stat("/old/proc/self"); err != nil {
		t.Error(err)
	}
}
