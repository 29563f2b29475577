package main

import (
	"bufio"
	"context"
	"errors"
	"os"
)

// prompt waits for Enter. Other lines go to the machine's console, where a shell is.
func (r *rack) prompt(ctx context.Context) error {
	if r.typed == nil {
		r.typed = make(chan string)
		go func() {
			defer close(r.typed)
			for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
				r.typed <- lines.Text()
			}
		}()
	}
	r.screen.print("    Enter goes on\n")
	for {
		select {
		case line, ok := <-r.typed:
			switch {
			case !ok:
				return errors.New("waiting for Enter: standard input has ended")
			case line == "":
				return nil
			case r.machine == nil:
				r.screen.print("    the machine is off\n")
			default:
				if err := r.machine.Send(line + "\n"); err != nil {
					r.screen.print("    " + err.Error() + "\n")
				}
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
