package toolroot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mount is a mount that is attached nowhere yet.
type mount struct {
	fd  int
	dst string
	dir bool
}

// enter makes the tool root the root of the calling process, which must be
// alone in new user, mount and PID namespaces.
//
// Everything that comes from the host is collected first, as mounts held by
// descriptor; they are attached after the host's root is gone, so that no
// symlink of the tool root can lead outside of it.
func (s *spec) enter() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return refused("making mounts private", err)
	}
	root, err := newMount("tmpfs", "/", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, "mode", "0755")
	if err != nil {
		return err
	}
	mounts, links, err := s.rootMounts()
	if err != nil {
		return err
	}
	for _, collect := range []func() ([]mount, error){procMount, s.devMounts, s.bindMounts} {
		more, err := collect()
		if err != nil {
			return err
		}
		mounts = append(mounts, more...)
	}

	if err := pivot(root, s.Root); err != nil {
		return err
	}
	for name, target := range links {
		if err := os.Symlink(target, "/"+name); err != nil {
			return err
		}
	}
	for _, m := range mounts {
		if err := m.attach(); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	if err := os.Mkdir("/dev/shm", 0o755); err != nil {
		return err
	}
	return setReadOnly(unix.AT_FDCWD, "/", 0)
}

// rootMounts returns the root's directories and files, read-only, and its
// symlinks by name. What the kernel or this package fills is left out.
func (s *spec) rootMounts() ([]mount, map[string]string, error) {
	entries, err := os.ReadDir(s.Root)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the tool root: %w", err)
	}
	var mounts []mount
	links := map[string]string{}
	for _, e := range entries {
		src := filepath.Join(s.Root, e.Name())
		switch e.Name() {
		case "proc", "dev", "tmp":
			continue
		}
		if e.Type()&os.ModeSymlink != 0 {
			if links[e.Name()], err = os.Readlink(src); err != nil {
				return nil, nil, err
			}
			continue
		}
		m, err := hostMount(src, "/"+e.Name(), false)
		if err != nil {
			return nil, nil, err
		}
		mounts = append(mounts, m)
	}
	return mounts, links, nil
}

// procMount returns a fresh /proc, or the host's where the kernel refuses one
// because parts of the host's are covered, as they are in containers.
func procMount() ([]mount, error) {
	const attr = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	m, err := newMount("proc", "/proc", attr)
	if errors.Is(err, unix.EPERM) {
		m, err = hostMount("/proc", "/proc", true)
	}
	return []mount{m}, err
}

// devMounts returns /dev with the devices that programs expect, and /tmp.
func (s *spec) devMounts() ([]mount, error) {
	dev, err := newMount("tmpfs", "/dev", unix.MOUNT_ATTR_NOSUID, "mode", "0755")
	if err != nil {
		return nil, err
	}
	pts, err := newMount("devpts", "/dev/pts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "mode", "0620", "ptmxmode", "0666")
	if err != nil {
		return nil, err
	}
	tmp, err := newMount("tmpfs", "/tmp", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, "mode", "1777")
	if err != nil {
		return nil, err
	}
	mounts := []mount{dev, pts, tmp}
	nodes := []string{"null", "zero", "full", "random", "urandom", "tty"}
	if s.KVM {
		nodes = append(nodes, "kvm")
	}
	for _, n := range nodes {
		m, err := hostMount("/dev/"+n, "/dev/"+n, true)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

func (s *spec) bindMounts() ([]mount, error) {
	var mounts []mount
	for _, b := range s.Binds {
		m, err := hostMount(b.Src, filepath.Clean(b.Dst), b.Write)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// newMount makes a file system of type fs; options are pairs of key and value.
func newMount(fs, dst string, attr int, options ...string) (mount, error) {
	fail := func(err error) (mount, error) {
		return mount{}, refused(fmt.Sprintf("making a %s for %s", fs, dst), err)
	}
	conf, err := unix.Fsopen(fs, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(conf)
	for i := 0; i < len(options); i += 2 {
		if err := unix.FsconfigSetString(conf, options[i], options[i+1]); err != nil {
			return fail(err)
		}
	}
	if err := unix.FsconfigCreate(conf); err != nil {
		return fail(err)
	}
	fd, err := unix.Fsmount(conf, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return fail(err)
	}
	return mount{fd, dst, true}, nil
}

// hostMount is a copy of the mounts at and below src.
func hostMount(src, dst string, write bool) (mount, error) {
	fi, err := os.Stat(src)
	if err != nil {
		return mount{}, fmt.Errorf("binding %s: %w", dst, err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, src, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return mount{}, refused(fmt.Sprintf("binding %s to %s", src, dst), err)
	}
	if !write {
		if err := setReadOnly(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE); err != nil {
			return mount{}, fmt.Errorf("binding %s: %w", dst, err)
		}
	}
	return mount{fd, dst, fi.IsDir()}, nil
}

func setReadOnly(dirfd int, path string, flags uint) error {
	err := unix.MountSetattr(dirfd, path, flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		return fmt.Errorf("making a mount read-only (Linux 5.12 or newer is needed): %w", err)
	}
	return nil
}

// pivot makes root the root directory and lets go of the old one. It is
// attached over dir for a moment: a directory that is known to exist.
func pivot(root mount, dir string) error {
	if err := unix.MoveMount(root.fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attaching the new root: %w", err)
	}
	if err := unix.Fchdir(root.fd); err != nil {
		return fmt.Errorf("entering the new root: %w", err)
	}
	// The old root ends up on top of the new one, where it is detached again:
	// no directory is needed to put it in (pivot_root(2)).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detaching the host's root: %w", err)
	}
	return os.Chdir("/")
}

// attach puts m in its place, which is made if it is not there.
func (m mount) attach() error {
	if err := mountPoint(m.dst, m.dir); err != nil {
		return fmt.Errorf("making the mount point %s (choose one that the root has, or one outside its directories): %w", m.dst, err)
	}
	err := unix.MoveMount(m.fd, "", unix.AT_FDCWD, m.dst, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
	unix.Close(m.fd)
	if err != nil {
		return fmt.Errorf("mounting %s: %w", m.dst, err)
	}
	return nil
}

func mountPoint(path string, dir bool) error {
	if dir {
		return os.MkdirAll(path, 0o755)
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, nil, 0o644)
}
