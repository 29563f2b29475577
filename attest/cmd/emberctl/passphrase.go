package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// askPassphrase asks at the terminal, without an echo. Where there is none the passphrase is the next line of
// standard input.
func askPassphrase(ctx context.Context, prompt string) (string, error) {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return readLine(ctx, os.Stdin)
	}
	defer terminal.Close()
	fd := int(terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", fmt.Errorf("asking for a passphrase: %w", err)
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return "", fmt.Errorf("asking for a passphrase: %w", err)
	}
	defer unix.IoctlSetTermios(fd, unix.TCSETS, before)
	fmt.Fprint(terminal, prompt)
	defer fmt.Fprintln(terminal)
	return readLine(ctx, terminal)
}

// readLine reads one line and nothing behind it. That ctx ends first is a refusal, and the reading goes on.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := bufio.NewReaderSize(oneByte{r}, 16).ReadString('\n')
		read <- result{strings.TrimRight(line, "\r\n"), err}
	}()
	select {
	case got := <-read:
		if got.line == "" {
			return "", errors.Join(errors.New("no passphrase given"), got.err)
		}
		return got.line, nil
	case <-ctx.Done():
		return "", refusal("nothing was done")
	}
}

// oneByte reads byte by byte.
type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

// choosePassphrase asks twice.
func choosePassphrase(ctx context.Context) (string, error) {
	first, err := askPassphrase(ctx, "Passphrase for signing.key: ")
	if err != nil {
		return "", err
	}
	second, err := askPassphrase(ctx, "Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passphrases differ")
	}
	return first, nil
}
