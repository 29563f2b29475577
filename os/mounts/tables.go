package mounts

import "golang.org/x/sys/unix"

const (
	nosuid = unix.MS_NOSUID
	nodev  = unix.MS_NODEV
	noexec = unix.MS_NOEXEC
)

// CgroupRoot is where the cgroup hierarchy (version 2) is mounted.
const CgroupRoot = "/sys/fs/cgroup"

// Devices is what init itself needs before it can do anything else: the kernel
// command line and the consoles.
var Devices = []Mount{
	{Type: "proc", Target: "/proc", Flags: nosuid | nodev | noexec, Needed: true},
	{Type: "sysfs", Target: "/sys", Flags: nosuid | nodev | noexec, Needed: true},
	// Not noexec: SGX enclaves are mapped executable from their device.
	{Type: "devtmpfs", Target: "/dev", Flags: nosuid, Data: "mode=0755", Needed: true},
}

// System is what programs expect. /run, /tmp and /dev/shm allow execution because
// container runtimes and installers rely on it.
var System = []Mount{
	{Type: "devpts", Target: "/dev/pts", Flags: nosuid | noexec, Data: "gid=5,mode=0620,ptmxmode=0666", Needed: true},
	{Type: "tmpfs", Target: "/dev/shm", Flags: nosuid | nodev, Data: "mode=1777", Needed: true},
	{Type: "tmpfs", Target: "/run", Flags: nosuid | nodev, Data: "mode=0755", Needed: true},
	{Type: "tmpfs", Target: "/tmp", Flags: nosuid | nodev, Data: "mode=1777", Needed: true},
	{Type: "cgroup2", Target: CgroupRoot, Flags: nosuid | nodev | noexec, Data: "nsdelegate,memory_recursiveprot", Needed: true},
	{Type: "securityfs", Target: "/sys/kernel/security", Flags: nosuid | nodev | noexec},
	{Type: "bpf", Target: "/sys/fs/bpf", Flags: nosuid | nodev | noexec, Data: "mode=0700"},
	{Type: "pstore", Target: "/sys/fs/pstore", Flags: nosuid | nodev | noexec, If: "/sys/fs/pstore"},
	{Type: "efivarfs", Target: "/sys/firmware/efi/efivars", Flags: nosuid | nodev | noexec, If: "/sys/firmware/efi/efivars"},
}

// Links is what POSIX programs and shells expect in /dev beside devices.
var Links = []Link{
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
}
