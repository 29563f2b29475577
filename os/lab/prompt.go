package main

import (
	"bufio"
	"context"
	"os"

	"github.com/ember-os/ember/os/vm"
)

// prompt waits for Enter.
func (r *rack) prompt(ctx context.Context) error {
	r.screen.print("    Enter goes on\n")
	return r.pause(ctx, true)
}

// pause waits for ctx to end, or, if that is meant to go on, for Enter or the end of standard input. Lines go to the
// machine's console, where a shell is; a machine that reboots is let.
func (r *rack) pause(ctx context.Context, enter bool) error {
	if r.typed == nil {
		r.typed = make(chan string)
		go read(r.typed)
	}
	for {
		select {
		case line, ok := <-r.typed:
			switch {
			case enter && line == "":
				return nil
			case !ok:
				<-ctx.Done()
				return context.Cause(ctx)
			case r.off == nil:
				r.screen.print("    the machine is off\n")
			default:
				if err := r.machine.Send(line + "\n"); err != nil {
					r.screen.print("    " + err.Error() + "\n")
				}
			}
		case <-r.off:
			r.off = nil
			if end, err := r.machine.Wait(ctx); err == nil && end.Reason == vm.Reboot {
				if err := r.switchOn(ctx, "reboots"); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func read(lines chan<- string) {
	defer close(lines)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		lines <- in.Text()
	}
}
