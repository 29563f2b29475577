package toolroot

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// refused explains an error of the kernel that may mean that it does not let
// this user make namespaces.
func refused(doing string, err error) error {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%s: %w: Linux 5.12 or newer is needed", doing, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return fmt.Errorf("%s: %w: %s", doing, err, advice(readSysctl))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// advice names the setting that forbids user namespaces, or all that may.
func advice(sysctl func(name string) string) string {
	const (
		clone    = "kernel.unprivileged_userns_clone"
		limit    = "user.max_user_namespaces"
		apparmor = "kernel.apparmor_restrict_unprivileged_userns"
	)
	switch {
	case sysctl(clone) == "0":
		return "user namespaces are switched off: set " + clone + "=1 with sysctl"
	case sysctl(limit) == "0":
		return "user namespaces are switched off: set " + limit + " to more than 0 with sysctl"
	case sysctl(apparmor) == "1":
		return "AppArmor restricts user namespaces: set " + apparmor + "=0 with sysctl"
	}
	return fmt.Sprintf("user namespaces must be allowed: check the sysctls %s=1, %s>0 and %s=0, and that this is neither a chroot nor a container that forbids them", clone, limit, apparmor)
}

func readSysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
