package bazelw

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestEnter has enter.sh make a root of the host's programs and an /etc of its own the root, and looks around in it: as
// the caller, in a workspace that is deleted and made again meanwhile.
func TestEnter(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	root, mountpoint, work := filepath.Join(m.dir, "root"), filepath.Join(m.dir, "mnt"), filepath.Join(m.dir, "a workspace")
	lock := filepath.Join(work, "MODULE.bazel.lock")
	m.check(os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	m.check(os.Symlink("/usr", filepath.Join(root, "usr")))
	m.check(os.Mkdir(mountpoint, 0o755))
	for _, name := range []string{"etc/passwd", "etc/group", "etc/hosts", "etc/resolv.conf", "etc/nsswitch.conf", "etc/bazelw.lock"} {
		m.write(filepath.Join(root, name), "", 0o644)
	}
	m.write(filepath.Join(root, "etc/mark"), "private", 0o644)
	m.write(lock, "modules", 0o644)
	m.write(filepath.Join(work, "file"), "before", 0o644)
	script, err := filepath.Abs("enter.sh")
	m.check(err)
	const uid, gid = 1234, 5678
	c := exec.Command("unshare", "--user", "--map-root-user", "--mount", "bash", script, root, "", lock, mountpoint,
		"usr bin sbin lib lib32 lib64 libx32 libo32 etc dev proc sys run boot lost+found", work, strconv.Itoa(uid), strconv.Itoa(gid),
		"bash", "-c", `echo "$(id -u) $(id -g) $PWD $(</etc/mark) $(wc -c <MODULE.bazel.lock) $(ls -A / | grep -cx boot)"; unshare --user true || echo "no user namespace"; read; echo "$(<"$1/file")"`, "look", work)
	c.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin") // as private.sh has it
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	m.check(err)
	out, err := c.StdoutPipe()
	m.check(err)
	m.check(c.Start())
	lines := bufio.NewScanner(out)
	lines.Scan()
	if got, want := lines.Text(), fmt.Sprintf("%d %d %s private 0 0", uid, gid, work); got != want {
		t.Errorf("it sees %q, want %q", got, want)
	}
	m.check(os.RemoveAll(work))
	m.write(filepath.Join(work, "file"), "after", 0o644)
	fmt.Fprintln(in)
	lines.Scan()
	if got := lines.Text(); got != "after" {
		t.Errorf("the workspace that was made again has %q", got)
	}
	m.check(c.Wait())
	if all, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(all), mountpoint) {
		t.Errorf("a mount is left: %v", err)
	}
}
