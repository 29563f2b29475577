package console

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ember-os/ember/os/nstest"
	"golang.org/x/sys/unix"
)

func TestParseLine(t *testing.T) {
	for text, want := range map[string]line{
		"115200n8":     {115200, unix.CS8},
		"9600":         {9600, unix.CS8},
		"57600o":       {57600, unix.CS8 | unix.PARENB | unix.PARODD},
		"57600e7":      {57600, unix.CS7 | unix.PARENB},
		"1500000n8r":   {1500000, unix.CS8 | unix.CRTSCTS},
		"":             {},
		"0":            {},
		"fast":         {},
		"-1":           {},
		"9600n6":       {},
		"9600nr":       {},
		"9600n8r,":     {},
		"4294967296n8": {},
	} {
		got, err := parseLine(text)
		if got != want || (err != nil) != (want == line{}) {
			t.Errorf("%q gives %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	for _, text := range []string{"115200n8r", "9600e7", "57600o", "99999999999", "n8"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLine(text)
		if (err == nil) != (l.speed > 0) || l.flags&^lineFlags != 0 {
			t.Errorf("%q gives %+v, %v", text, l, err)
		}
	})
}

// TestSetLine has terminals in place of serial lines, for which the kernel keeps
// what is set too. None heeds what it receives until it is opened for a shell.
func TestSetLine(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	for _, tt := range []struct{ line, want, err string }{
		{line: ""}, // it stays as it was
		{line: usualLine},
		{line: "57600e7"}, // a pseudo-terminal has 8 bits and no parity whatever one asks
		{line: "31250n8r"},
		{line: "fast", want: usualLine, err: `console ttyS0: "fast" is not a speed with parity, bits and flow control, such as 115200n8; it gets that`},
	} {
		_, path := nstest.Terminal(t)
		terminal, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer terminal.Close()
		get := func() *unix.Termios {
			attr, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS2)
			if err != nil {
				t.Fatal(err)
			}
			return attr
		}
		before := *get()
		want := line{before.Ospeed, before.Cflag & unix.CRTSCTS}
		if tt.line != "" {
			if want, err = parseLine(cmp.Or(tt.want, tt.line)); err != nil {
				t.Fatal(err)
			}
		}
		dir := t.TempDir()
		if err := os.Symlink(path, filepath.Join(dir, "ttyS0")); err != nil {
			t.Fatal(err)
		}
		var c Console
		errs := c.Open(dir, []Device{{"ttyS0", tt.line}})
		if err := errors.Join(errs...); (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v", tt.line, err)
		}
		if len(c.Ports()) != 1 || c.Ports()[0].Name != "ttyS0" {
			t.Errorf("%q: it is not open", tt.line)
		}
		if got := *get(); got.Ospeed != want.speed || got.Ispeed != want.speed || got.Cflag&unix.CRTSCTS != want.flags&unix.CRTSCTS {
			t.Errorf("%q: the terminal has %d and %d bit/s and flags %#o", tt.line, got.Ospeed, got.Ispeed, got.Cflag)
		}
		const heed, echo = unix.IXON, unix.ECHO | unix.ISIG
		if got := *get(); before.Iflag&heed != heed || before.Lflag&echo != echo || got.Iflag&heed != 0 || got.Lflag&echo != 0 {
			t.Errorf("%q: the terminal has input flags %#o and local flags %#o, before %#o and %#o",
				tt.line, got.Iflag, got.Lflag, before.Iflag, before.Lflag)
		}
		shell, err := OpenTerminal(path)
		if err != nil {
			t.Fatal(err)
		}
		defer shell.Close()
		if got := *get(); got.Iflag&heed != heed || got.Lflag&echo != echo {
			t.Errorf("%q: for a shell the terminal has input flags %#o and local flags %#o", tt.line, got.Iflag, got.Lflag)
		}
	}
}
