package power

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// volatile filesystems have nothing that could be lost.
var volatile = []string{
	"bpf", "cgroup2", "debugfs", "devpts", "devtmpfs", "efivarfs", "mqueue", "nsfs", "proc",
	"pstore", "ramfs", "rootfs", "securityfs", "sysfs", "tmpfs", "tracefs",
}

// Unmount writes everything to the disks and unmounts all that is stored on one,
// or on another machine. What is in use is made read-only instead. It may take as
// long as the slowest of these.
func Unmount() error {
	unix.Sync()
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("unmounting: %w", err)
	}
	var errs []error
	mounts := parseMounts(string(info))
	for _, m := range slices.Backward(mounts) { // a mount comes before those on it
		if slices.Contains(volatile, m.fstype) {
			continue
		}
		err := unix.Unmount(m.target, unix.UMOUNT_NOFOLLOW)
		if err == nil {
			continue
		}
		if unix.Mount("", m.target, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") != nil {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", m.target, err))
		}
	}
	return errors.Join(errs...)
}

type mount struct{ target, fstype string }

// parseMounts reads mountinfo, see proc(5). It leaves out lines it does not
// understand.
func parseMounts(info string) []mount {
	var mounts []mount
	for line := range strings.Lines(info) {
		before, after, _ := strings.Cut(line, " - ")
		fields, types := strings.Fields(before), strings.Fields(after)
		if len(fields) >= 6 && len(types) >= 1 {
			mounts = append(mounts, mount{unescape(fields[4]), types[0]})
		}
	}
	return mounts
}

// unescape undoes the \ooo that stands for white space and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
