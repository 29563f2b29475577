package kernel_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/nstest"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// option is off, needs nothing more and brings nothing with it; the menu calls it prompt.
const option, prompt = "BFS_FS", "BFS file system support"

// The keys of the menu.
const (
	search, jump, yes, no = "/", "1", "y", "n"
	enter, back           = "\r", "\x1b\x1b"
)

// fragment is what a fragment says, and when that was written.
type fragment struct {
	text    string
	written time.Time
}

// fragments reads the fragments of a workspace by their names.
func fragments(t *testing.T, workspace string) map[string]fragment {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(workspace, "kernel/fragments/*.config"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("finding the fragments: %v, %v", paths, err)
	}
	all := map[string]fragment{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".config")] = fragment{read(t, path), info.ModTime()}
	}
	return all
}

// menuconfig starts bazel run //kernel:menuconfig at a terminal, for a workspace with a copy of the fragments. It gives
// the terminal and what waits for a successful end.
func menuconfig(t *testing.T, workspace, to string) (*screen, func()) {
	t.Helper()
	for name, f := range fragments(t, "..") {
		path := filepath.Join(workspace, "kernel/fragments", name+".config")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	master, path := nstest.Terminal(t)
	slave, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	scratch := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	c := exec.CommandContext(ctx, vmtest.File(t, "MENUCONFIG"), append(strings.Fields(os.Getenv("MENUCONFIG_ARGS")), "--to", to)...)
	c.Env = append(os.Environ(), "BUILD_WORKSPACE_DIRECTORY="+workspace, "TERM=vt52", "TMPDIR="+scratch)
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		c.Wait()
	})
	s := &screen{T: t, terminal: master}
	return s, func() {
		t.Helper()
		if err := c.Wait(); err != nil {
			t.Errorf("the program ends with %v:\n%s", err, s)
		}
		if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
			t.Errorf("the program left %v, %v", left, err)
		}
	}
}

// TestMenuconfig switches an option on, in the kernel's own menu.
func TestMenuconfig(t *testing.T) {
	vmtest.File(t, "MENUCONFIG")
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	const to = "filesystems"
	for _, c := range []struct {
		name    string
		changes bool
		answer  string // to the question whether to save
		adds    string
	}{
		{"saved", true, enter, "CONFIG_" + option + "=y  # TODO\n"},
		{"not saved", true, no, ""},
		{"nothing changed", false, "", ""},
	} {
		if t.Failed() {
			break // the time of one wait is enough
		}
		t.Run(c.name, func(t *testing.T) {
			workspace := t.TempDir()
			s, ends := menuconfig(t, workspace, to)
			before := fragments(t, workspace)
			s.await("General setup")
			if c.changes {
				s.press(search)
				s.await("Search Configuration Parameter")
				s.press("^" + option + "$" + enter)
				s.await("Symbol: " + option + " [=n]")
				s.press(jump)
				s.await("[ ]   " + prompt)
				s.press(yes)
				s.await("[*]   " + prompt)
				s.press(back)
				s.await("Symbol: " + option + " [=y]")
				s.press(back)
				s.await("General setup")
			}
			s.press(back)
			if c.changes {
				s.await("Do you wish to save your new configuration?")
				s.press(c.answer)
			}
			if c.adds != "" {
				s.await("1 options written")
			}
			ends()
			after, want := fragments(t, workspace), maps.Clone(before)
			if c.adds != "" {
				want[to] = fragment{before[to].text + c.adds, after[to].written}
			}
			for name, f := range after {
				if f != want[name] {
					t.Errorf("%s of %v is\n%s\nwant %v\n%s", name, f.written, f.text, want[name].written, want[name].text)
				}
			}
			if len(after) != len(want) {
				t.Errorf("there are %d fragments, want %d", len(after), len(want))
			}
		})
	}
}
