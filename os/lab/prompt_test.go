package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/vm"
)

// pieces are what a screen shows.
type pieces chan string

func (p pieces) Write(b []byte) (int, error) {
	p <- string(b)
	return len(b), nil
}

// until is what comes until a text has come.
func (p pieces) until(t *testing.T, text string) string {
	t.Helper()
	var all strings.Builder
	for !strings.Contains(all.String(), text) {
		select {
		case piece := <-p:
			all.WriteString(piece)
		case <-time.After(time.Minute):
			t.Fatalf("%q does not come:\n%s", text, &all)
		}
	}
	return all.String()
}

// TestStep has each step wait for Enter, the end of input, or Ctrl-C. Other lines go to the machine, if it is on.
func TestStep(t *testing.T) {
	for end, want := range map[string]string{"the end of input": "", "Ctrl-C": "stopped in step 3, three"} {
		in, keys, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		defer keys.Close()
		defer func(stdin *os.File) { os.Stdin = stdin }(os.Stdin)
		os.Stdin = in
		screen := make(pieces, 100)
		r := &rack{flags: flags{step: true, kvm: "off"}, screen: newScreen(screen, false)}
		do := func(name string) step {
			return step{name, name + " is next", func(r *rack, _ context.Context) (string, error) {
				r.machine, r.off = new(vm.Machine), make(chan struct{}) // on, but without a keyboard
				return name + " has happened", nil
			}}
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- r.play(ctx, []step{do("one"), do("two"), do("three")}) }()
		for _, line := range []struct{ typed, shows string }{
			{"uname", "    the machine is off\n"},
			{"", "one has happened\n"},
			{"uname", "    typing into the console: "},
			{"", "two has happened\n"},
		} {
			if _, err := io.WriteString(keys, line.typed+"\n"); err != nil {
				t.Fatal(err)
			}
			if all := screen.until(t, line.shows); line.typed != "" && strings.Contains(all, "has happened") {
				t.Errorf("a step does not wait for Enter:\n%s", all)
			}
		}
		screen.until(t, "three is next\n    ")
		if want == "" {
			keys.Close()
		} else {
			stop()
		}
		if err := <-ended; (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("at %s it ends with %v", end, err)
		}
	}
}
