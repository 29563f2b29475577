// Package loopback brings up lo, by which programs of one machine reach each other. The kernel then
// gives it 127.0.0.1 and ::1. It belongs to bring-up and not to the network: services that need no
// network need it.
package loopback

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Up brings up lo of this network namespace.
func Up() error {
	if err := up(); err != nil {
		return fmt.Errorf("bringing up lo: %w", err)
	}
	return nil
}

func up() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(socket)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, lo); err != nil {
		return os.NewSyscallError("SIOCGIFFLAGS", err)
	}
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	return os.NewSyscallError("SIOCSIFFLAGS", unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo))
}
