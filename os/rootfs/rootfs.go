// Package rootfs turns the kernel's first root, which holds the unpacked initrd,
// into one that containers can be started from.
//
// pivot_root(2) refuses the kernel's first root because it is no mount that could
// be moved. A clone of that mount, attached on top of it and entered with chroot,
// is one, shows the same files and copies nothing. The clone also shows the tree
// without anything mounted over it, for whoever wants to check it first.
package rootfs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Clone is a second, unattached mount of the root, without what is mounted on it.
type Clone struct{ fd int }

// New clones the root mount of the process.
func New() (*Clone, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cloning the root mount: %w", err)
	}
	return &Clone{fd}, nil
}

// Path leads to the root directory of the clone. It needs /proc.
func (c *Clone) Path() string { return fmt.Sprintf("/proc/self/fd/%d", c.fd) }

// Enter makes the clone the root of the process, and of all it starts later, and
// takes along what is mounted at the given absolute paths. The clone is closed.
// Mounts then propagate to and from other namespaces, as under systemd: the
// kubelet's volumes need it.
func (c *Clone) Enter(mounts ...string) error {
	defer unix.Close(c.fd)
	if err := unix.MoveMount(c.fd, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attaching the new root: %w", err)
	}
	for _, m := range mounts {
		if err := unix.MoveMount(unix.AT_FDCWD, m, c.fd, m[1:], 0); err != nil {
			return fmt.Errorf("moving %s to the new root: %w", m, err)
		}
	}
	if err := unix.Fchdir(c.fd); err != nil {
		return fmt.Errorf("going to the new root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("entering the new root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("sharing mounts: %w", err)
	}
	return nil
}

// Resize sets how much the root may hold, in percent of the memory. The kernel's
// own limit, half of it, is for a root that is left behind after boot.
func Resize(percent int) error {
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT, fmt.Sprintf("size=%d%%", percent)); err != nil {
		return fmt.Errorf("resizing the root: %w", err)
	}
	return nil
}
