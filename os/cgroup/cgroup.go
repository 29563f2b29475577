// Package cgroup keeps processes together that belong together, so that all of them
// can be signalled, killed and waited for, whatever they do: cgroup v2, see the
// kernel's Documentation/admin-guide/cgroup-v2.rst.
package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Tree is a mounted hierarchy, or a part of one.
type Tree struct{ root string }

// Open takes the directory root for the root of a tree. It fails if that is not
// part of a cgroup v2 hierarchy.
func Open(root string) (*Tree, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(root, &s); err != nil {
		return nil, fmt.Errorf("opening the cgroups in %s: %w", root, err)
	}
	if s.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, fmt.Errorf("opening the cgroups in %s: there is no cgroup2 filesystem", root)
	}
	return &Tree{root}, nil
}

// Group is a cgroup. All its processes are also those of the cgroups in it.
type Group struct{ Dir string }

// Make makes a cgroup with those above it, or takes the one that is there.
func (t *Tree) Make(path string) (Group, error) {
	if !filepath.IsLocal(path) {
		return Group{}, fmt.Errorf("making cgroup %q: this is no path", path)
	}
	g := Group{filepath.Join(t.root, path)}
	if err := os.MkdirAll(g.Dir, 0o755); err != nil {
		return Group{}, fmt.Errorf("making a cgroup: %w", err)
	}
	return g, nil
}

// Open opens the directory, for syscall.SysProcAttr.CgroupFD.
func (g Group) Open() (*os.File, error) {
	f, err := os.Open(g.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening a cgroup: %w", err)
	}
	return f, nil
}

// Set writes one of the cgroup's files: "pids.max". It does not exist if its
// controller is not enabled.
func (g Group) Set(file, value string) error {
	f, err := os.OpenFile(filepath.Join(g.Dir, file), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		f.Close()
	}
	if err != nil {
		return fmt.Errorf("setting up a cgroup: %w", err)
	}
	return nil
}

// Thaw lets processes go on that were frozen here. It does nothing about the cgroups above.
func (g Group) Thaw() error { return g.Set("cgroup.freeze", "0") }

// Populated tells whether there are processes. In a cgroup that does not exist
// there are none.
func (g Group) Populated() (bool, error) {
	text, err := os.ReadFile(filepath.Join(g.Dir, "cgroup.events"))
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for processes in a cgroup: %w", err)
	}
	return parsePopulated(text)
}

func parsePopulated(events []byte) (bool, error) {
	for line := range bytes.Lines(events) {
		switch string(bytes.TrimSpace(line)) {
		case "populated 0":
			return false, nil
		case "populated 1":
			return true, nil
		}
	}
	return false, fmt.Errorf("looking for processes in a cgroup: %q does not tell", events)
}

// Signal sends a signal to every process. One that is forked meanwhile may not get
// it. For SIGKILL there is Kill, which misses none.
func (g Group) Signal(sig syscall.Signal) error {
	pids, err := g.PIDs()
	errs := []error{err}
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
			errs = append(errs, fmt.Errorf("signalling process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// PIDs gives the processes that it has now.
func (g Group) PIDs() ([]int, error) {
	var pids []int
	err := g.walk(func(dir string) error {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		pids = append(pids, parsePIDs(text)...)
		return err
	})
	return pids, err
}

// parsePIDs leaves out 0, which stands for a process outside our PID namespace, and
// which kill(2) takes for all of our own process group; and PID 1.
func parsePIDs(procs []byte) []int {
	var pids []int
	for _, word := range strings.Fields(string(procs)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 1 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Kill kills all processes at once.
func (g Group) Kill() error {
	err := g.Set("cgroup.kill", "1")
	if gone(err) {
		return nil
	}
	return err
}

// Remove removes the cgroup and those in it, which must have no processes.
func (g Group) Remove() error {
	return g.walk(func(dir string) error {
		if err := syscall.Rmdir(dir); err != nil {
			return fmt.Errorf("removing cgroup %s: %w", dir, err)
		}
		return nil
	})
}

// walk calls f for the cgroup and all in it, those deep down first. What vanishes
// meanwhile is no error.
func (g Group) walk(f func(dir string) error) error {
	entries, err := os.ReadDir(g.Dir)
	if gone(err) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, Group{filepath.Join(g.Dir, e.Name())}.walk(f))
		}
	}
	if err := f(g.Dir); !gone(err) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// gone tells whether an error only says that the cgroup does not exist any more.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV)
}

// Usage is what a cgroup uses. What is not known is 0.
type Usage struct {
	Memory uint64 // in bytes, with the page cache and the kernel's share
	Tasks  uint64 // processes and threads
}

// ReadUsage reads the usage of the cgroup whose directory is dir.
func ReadUsage(dir string) Usage {
	return Usage{readNumber(dir, "memory.current"), readNumber(dir, "pids.current")}
}

func readNumber(dir, file string) uint64 {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
