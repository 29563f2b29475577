// Package shell keeps a root shell running on a terminal, for debugging. There is
// no password: whoever asks for it on the kernel command line owns the machine.
package shell

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/ember-os/ember/os/console"
	"github.com/ember-os/ember/os/reaper"
)

// Path is the program that the system's shells are.
const Path = "/bin/sh"

// Shell says what to run and how.
type Shell struct {
	Path   string        // the program, started as a login shell
	Delay  time.Duration // before one that ended is followed by the next
	Reaper *reaper.Reaper
}

const banner = `
Ember: a root shell on %s, because of ember.debug=shell.
exit starts a new one; reboot, poweroff and halt do as they say.
`

var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"USER=root",
	"PS1=ember:\\w# ",
}

// Run keeps a shell on the terminal with the given path until ctx ends. The error
// says why a shell could not be started.
func (s *Shell) Run(ctx context.Context, terminal string) error {
	for {
		if err := s.once(ctx, terminal); err != nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(s.Delay):
		case <-ctx.Done():
			return nil
		}
	}
}

// once runs one shell to its end, which the end of ctx hastens.
func (s *Shell) once(ctx context.Context, path string) error {
	terminal, err := console.OpenTerminal(path)
	if err != nil {
		return err
	}
	defer terminal.Close()
	fmt.Fprintf(terminal, banner, path)
	p, err := s.Reaper.Start(s.Path, []string{"-sh"}, console.Session(terminal, environment))
	if err != nil {
		return err
	}
	if _, err := p.Wait(ctx); err != nil {
		// An interactive shell ignores SIGTERM; without its terminal it goes.
		p.Signal(syscall.SIGHUP)
		p.Signal(syscall.SIGCONT)
	}
	return nil
}
