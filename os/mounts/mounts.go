// Package mounts mounts the filesystems of the kernel, and the volatile ones, at
// their places. What is mounted where, and how, is in tables.
package mounts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is one filesystem to mount.
type Mount struct {
	Type   string // also what /proc/mounts shows as its source
	Target string // made, with mode 0755, if it is missing
	Flags  uintptr
	Data   string // options of the filesystem
	Needed bool   // nothing works without it
	If     string // mount only if this path exists; "" for always
}

// All mounts a table below root, in its order. If a needed filesystem cannot be
// mounted it stops there and returns that as err; of the others it returns what
// failed and goes on.
func All(root string, table []Mount) (failed []error, err error) {
	for _, m := range table {
		err := m.mount(root)
		switch {
		case err == nil:
		case m.Needed:
			return failed, err
		default:
			failed = append(failed, err)
		}
	}
	return failed, nil
}

func (m *Mount) mount(root string) error {
	if m.If != "" {
		if _, err := os.Lstat(filepath.Join(root, m.If)); errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	target := filepath.Join(root, m.Target)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("mounting %s: %w", m.Target, err)
	}
	err := unix.Mount(m.Type, target, m.Type, m.Flags, m.Data)
	switch {
	case err == unix.EBUSY: // it is mounted already
		return nil
	case err == unix.ENODEV:
		return fmt.Errorf("mounting %s: the kernel has no %s", m.Target, m.Type)
	case err != nil:
		return fmt.Errorf("mounting %s: %w", m.Target, err)
	}
	return nil
}

// Link is a symbolic link that programs expect in /dev.
type Link struct{ Name, Target string }

// LinkAll makes the links below root. Those that are there already stay.
func LinkAll(root string, links []Link) (failed []error) {
	for _, l := range links {
		if err := os.Symlink(l.Target, filepath.Join(root, l.Name)); err != nil && !errors.Is(err, os.ErrExist) {
			failed = append(failed, fmt.Errorf("linking %s: %w", l.Name, err))
		}
	}
	return failed
}

// DelegateControllers lets the children of the cgroup at dir use every controller
// that it has. A controller that refuses is skipped and reported.
func DelegateControllers(dir string) (controllers []string, failed []error) {
	all, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil, []error{fmt.Errorf("finding cgroup controllers: %w", err)}
	}
	for _, c := range strings.Fields(string(all)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			failed = append(failed, fmt.Errorf("enabling cgroup controller %s: %w", c, err))
			continue
		}
		controllers = append(controllers, c)
	}
	return controllers, failed
}
