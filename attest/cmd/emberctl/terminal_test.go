package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/os/nstest"
)

// What a terminal makes a signal or the end of input of.
const (
	ctrlC      = "\x03"
	endOfInput = "\x04"
)

// typist is at a terminal.
type typist struct {
	*testing.T
	terminal io.ReadWriter
	screen   strings.Builder
	read     int // of the screen
}

// await reads until the terminal shows text.
func (y *typist) await(text string) {
	y.Helper()
	b := make([]byte, 256)
	for {
		if i := strings.Index(y.screen.String()[y.read:], text); i >= 0 {
			y.read += i + len(text)
			return
		}
		n, err := y.terminal.Read(b)
		y.screen.Write(b[:n])
		if err != nil {
			y.Fatalf("the terminal does not show %q: %v\n%s", text, err, &y.screen)
		}
	}
}

func (y *typist) enter(text string) {
	y.Helper()
	y.press(text + "\n")
}

func (y *typist) press(keys string) {
	y.Helper()
	if _, err := io.WriteString(y.terminal, keys); err != nil {
		y.Fatal(err)
	}
}

// program starts emberctl at a terminal of its own.
func program(t *testing.T, args ...string) (*exec.Cmd, *typist) {
	t.Helper()
	master, path := nstest.Terminal(t)
	if err := master.SetReadDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &typist{T: t, terminal: master}
}

// ends waits for the program to end with that status.
func ends(t *testing.T, cmd *exec.Cmd, status int) {
	t.Helper()
	err := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == status || err == nil && status == done {
		return
	}
	t.Errorf("it ends with %v, not %d", err, status)
}

// TestQuestions answers questions at a real terminal, to the real program.
func TestQuestions(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	d := sit(t)
	d.fleet(t)
	for _, test := range []struct {
		answer string
		status int
		want   store.State
	}{{"n", refused, store.Enrolled}, {"", refused, store.Enrolled}, {"yellow", refused, store.Enrolled}, {endOfInput, refused, store.Enrolled}, {ctrlC, refused, store.Enrolled}, {"y", done, store.Revoked}} {
		cmd, y := program(t, "revoke", "a1a1")
		y.await("This locks out " + good)
		y.await("serial 8XK2-a1")
		y.await("Go on? [y/N] ")
		if test.answer == endOfInput || test.answer == ctrlC {
			y.press(test.answer)
		} else {
			y.enter(test.answer)
		}
		if test.status == refused {
			y.await("emberctl: nothing was done")
		} else {
			y.await("revoked " + good)
		}
		ends(t, cmd, test.status)
		if m, err := d.registry.Machine(t.Context(), good); err != nil || m.State != test.want {
			t.Errorf("after %q: %+v, %v", test.answer, m, err)
		}
	}
}

// TestPassphrase gives a passphrase at a terminal, which does not show it.
func TestPassphrase(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	t.Chdir(t.TempDir())
	cmd, y := program(t, "keygen", "--passphrase", "--out", "keys")
	y.await("Passphrase for signing.key: ")
	y.enter("correct horse")
	y.await("Again: ")
	y.enter("correct horse")
	y.await("keys/signing.key signs overlays")
	ends(t, cmd, done)
	if strings.Contains(y.screen.String(), "horse") {
		t.Errorf("the terminal shows %s", &y.screen)
	}
	if err := os.MkdirAll("tree/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, y = program(t, "seal", "tree", "--name", "rack", "--key", "keys/signing.key", "--recipient", "keys/attestd.recipient")
	y.await("Passphrase for keys/signing.key: ")
	y.enter("wrong")
	y.await("is the passphrase right?")
	ends(t, cmd, failed)
}

// TestPassphraseInterrupted presses Ctrl-C where a passphrase is asked for. The terminal shows what is typed again.
func TestPassphraseInterrupted(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	t.Chdir(t.TempDir())
	cmd, y := program(t, "keygen", "--passphrase", "--out", "keys")
	y.await("Passphrase for signing.key: ")
	y.press(ctrlC)
	y.await("emberctl: nothing was done")
	ends(t, cmd, refused)
	y.enter("shown")
	y.await("shown")
	if _, err := os.Stat("keys"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there are keys: %v", err)
	}
}
