package console

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Terminal gives the terminal for people that belongs to a console: itself, but
// the first virtual terminal for tty0, which is whichever of them is in front.
func Terminal(name string) string {
	if name == "tty0" {
		return "tty1"
	}
	return name
}

// OpenTerminal opens a terminal and gives it the settings a shell expects, but
// leaves speed and character size as the kernel's console= options set them. It
// does not wait for a carrier.
func OpenTerminal(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening terminal: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	if err = makeSane(fd); err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("setting up terminal: %w", &os.PathError{Op: "ioctl", Path: path, Err: err})
	}
	return os.NewFile(uintptr(fd), path), nil
}

// isTerminal is nil if fd is a terminal that works.
func isTerminal(fd int) error {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err
}

// makeSane does what stty sane does, for a line without modem control.
func makeSane(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag = unix.BRKINT | unix.ICRNL | unix.IXON | unix.IMAXBEL | unix.IUTF8
	t.Oflag = unix.OPOST | unix.ONLCR
	t.Cflag |= unix.CREAD | unix.CLOCAL
	t.Lflag = unix.ISIG | unix.ICANON | unix.IEXTEN | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE
	for i, c := range map[int]uint8{
		unix.VINTR: 'C' & 0x1f, unix.VQUIT: '\\' & 0x1f, unix.VERASE: 0x7f, unix.VKILL: 'U' & 0x1f,
		unix.VEOF: 'D' & 0x1f, unix.VTIME: 0, unix.VMIN: 1, unix.VSTART: 'Q' & 0x1f, unix.VSTOP: 'S' & 0x1f,
		unix.VSUSP: 'Z' & 0x1f, unix.VREPRINT: 'R' & 0x1f, unix.VDISCARD: 'O' & 0x1f,
		unix.VWERASE: 'W' & 0x1f, unix.VLNEXT: 'V' & 0x1f, unix.VEOL: 0, unix.VEOL2: 0,
	} {
		t.Cc[i] = c
	}
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// deafen keeps the terminal fd from echoing what it receives, from stopping when that
// is an XOFF, and from dropping its output when that is a key that interrupts.
func deafen(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IXON | unix.IXOFF | unix.IXANY
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ISIG
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// Session gives the attributes of a process that leads a new session with the
// terminal as its controlling one.
func Session(terminal *os.File, env []string) *syscall.ProcAttr {
	fd := terminal.Fd()
	return &syscall.ProcAttr{
		Env:   append(env, "TERM="+Type(terminal.Name())),
		Files: []uintptr{fd, fd, fd},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	}
}

// Type gives the value of TERM: Linux's own for a virtual terminal, and what every
// terminal emulator understands for whatever is at the end of a serial line.
func Type(path string) string {
	number, virtual := strings.CutPrefix(filepath.Base(path), "tty")
	if virtual && strings.Trim(number, "0123456789") == "" {
		return "linux"
	}
	return "vt220"
}
