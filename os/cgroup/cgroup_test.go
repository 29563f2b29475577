package cgroup_test

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cgroup"
	"github.com/ember-os/ember/os/cgroup/cgrouptest"
)

// TestMain is also a child that says a line once it ignores SIGTERM, if its second
// argument says so, and then does nothing.
func TestMain(m *testing.M) {
	if os.Args[0] == "child" {
		if os.Args[1] == "stubborn" {
			signal.Ignore(syscall.SIGTERM)
		}
		os.Stdout.WriteString("ready\n")
		for {
			syscall.Pause()
		}
	}
	os.Exit(m.Run())
}

func makeGroup(t *testing.T, tree *cgroup.Tree, path string) cgroup.Group {
	t.Helper()
	g, err := tree.Make(path)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func start(t *testing.T, g cgroup.Group, how string) *exec.Cmd {
	t.Helper()
	dir, err := g.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"child", how}
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no processes in cgroups of our own: %v", err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return cmd
}

func wantPopulated(t *testing.T, g cgroup.Group, want bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		got, err := g.Populated()
		if err != nil {
			t.Fatal(err)
		}
		if got == want {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s: populated is %v", g.Dir, got)
		}
	}
}

func wantSignal(t *testing.T, cmd *exec.Cmd, want syscall.Signal) {
	t.Helper()
	cmd.Wait()
	if s := cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != want {
		t.Errorf("ended by %v, want %v", cmd.ProcessState, want)
	}
}

// TestGroup has a process in a cgroup and one in a cgroup in it.
func TestGroup(t *testing.T) {
	tree, err := cgroup.Open(cgrouptest.Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	g := makeGroup(t, tree, "a.slice/b.service")
	inner := makeGroup(t, tree, "a.slice/b.service/nested/deep")
	wantPopulated(t, g, false)
	mild, stubborn := start(t, g, "mild"), start(t, inner, "stubborn")
	wantPopulated(t, g, true)
	if err := errors.Join(g.Set("cgroup.freeze", "1"), g.Thaw()); err != nil {
		t.Error(err)
	}
	if err := g.Remove(); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("removing a cgroup with processes: %v", err)
	}
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	wantSignal(t, mild, syscall.SIGTERM)
	wantPopulated(t, inner, true)
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	wantSignal(t, stubborn, syscall.SIGKILL)
	wantPopulated(t, g, false)
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(g.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cgroup after Remove: %v", err)
	}

	for name, err := range map[string]error{"Signal": g.Signal(syscall.SIGTERM), "Kill": g.Kill(), "Remove": g.Remove()} {
		if err != nil {
			t.Errorf("%s of a cgroup that is gone: %v", name, err)
		}
	}
	wantPopulated(t, g, false)
}

func TestOpen(t *testing.T) {
	if _, err := cgroup.Open(t.TempDir()); err == nil {
		t.Error("an ordinary directory is taken for cgroups")
	}
	if _, err := cgroup.Open(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening nothing: %v", err)
	}
}

func TestReadUsage(t *testing.T) {
	dir := t.TempDir()
	if got := cgroup.ReadUsage(dir); got != (cgroup.Usage{}) {
		t.Errorf("without files: %+v", got)
	}
	for name, text := range map[string]string{"memory.current": "5242880\n", "pids.current": "junk"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := cgroup.ReadUsage(dir), (cgroup.Usage{Memory: 5 << 20}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
