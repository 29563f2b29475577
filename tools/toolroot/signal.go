package toolroot

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// relay collects the signals that ask a process to do something.
type relay chan os.Signal

func newRelay() relay {
	r := make(relay, 16)
	signal.Notify(r, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2)
	return r
}

// to passes them on to p. An interrupt from the keyboard is left out: the
// terminal sends it to every process of its foreground group, so p has it.
func (r relay) to(p *os.Process) {
	for s := range r {
		if (s == syscall.SIGINT || s == syscall.SIGQUIT) && inForeground() {
			continue
		}
		p.Signal(s)
	}
}

// inForeground tells whether this process is in the foreground group of its terminal.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// RelaySignals passes SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2
// that this process receives on to a started command, for programs that do
// nothing but run one.
func (c *Cmd) RelaySignals() {
	go newRelay().to(c.Process)
}
