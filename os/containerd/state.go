package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/os/cmdline"
	"golang.org/x/sys/unix"
)

// scratchDir is where the filesystem for images and containers is mounted.
const scratchDir = "/run/ember/scratch"

// stateDirs is what is kept there, in a directory of the same name.
var stateDirs = []string{stateDir, nerdctlDir}

// prepareState mounts the disk that is asked for, or else memory, and binds parts of
// it to their places. A disk that can not be used is no error: memory is used.
func (m machine) prepareState(ctx context.Context) error {
	target := m.path(scratchDir)
	for _, dir := range stateDirs {
		if err := os.MkdirAll(m.path(dir), 0o711); err != nil {
			return fmt.Errorf("preparing %s: %w", dir, err)
		}
	}
	if mounted, err := isMounted(target); err != nil {
		return fmt.Errorf("preparing %s: %w", scratchDir, err)
	} else if !mounted {
		if err := m.mountState(ctx, target); err != nil {
			return err
		}
	}
	var errs []error
	for _, dir := range stateDirs {
		if err := bind(filepath.Join(target, filepath.Base(dir)), m.path(dir)); err != nil {
			errs = append(errs, fmt.Errorf("%s is not on %s: %w", dir, scratchDir, err))
		}
	}
	return errors.Join(errs...)
}

func (m machine) mountState(ctx context.Context, target string) error {
	c := m.config.Containers
	if c.Scratch != (cmdline.Disk{}) {
		err := m.disk(ctx, m.log, c.Scratch, target)
		if err == nil {
			return nil
		}
		m.log.Error("images and containers are kept in memory", "err", err)
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("mounting memory: %w", err)
	}
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, "mode=0755,size="+c.Memory); err != nil {
		return fmt.Errorf("mounting memory: %w", err)
	}
	return nil
}

// bind makes a part of the scratch filesystem appear at dir, if that is empty:
// nothing that somebody brought is hidden.
func bind(part, dir string) error {
	if err := os.MkdirAll(part, 0o711); err != nil {
		return err
	}
	if mounted, err := isMounted(dir); err != nil || mounted {
		return err
	}
	if entries, err := os.ReadDir(dir); err != nil {
		return err
	} else if len(entries) > 0 {
		return errors.New("it holds files already")
	}
	return unix.Mount(part, dir, "", unix.MS_BIND, "")
}

func isMounted(dir string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, err
}

// sysctls are what containers need of the kernel. IPv6 packets are forwarded only
// once a network with IPv6 asks for it, which plugins do by themselves.
var sysctls = []struct {
	name, value string
	optional    bool // not every kernel has it
}{
	{"net/ipv4/ip_forward", "1", false},
	{"net/bridge/bridge-nf-call-iptables", "1", true},
	{"net/bridge/bridge-nf-call-ip6tables", "1", true},
}

func (m machine) setSysctls() []error {
	var errs []error
	for _, s := range sysctls {
		err := setSysctl(m.path("/proc/sys", s.name), s.value)
		if errors.Is(err, fs.ErrNotExist) && s.optional {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("setting a kernel parameter: %w", err))
		}
	}
	return errs
}

func setSysctl(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}
