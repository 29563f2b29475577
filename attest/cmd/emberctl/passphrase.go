package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// askPassphrase asks at the terminal, without an echo. Where there is none the passphrase is the next line of
// standard input.
func askPassphrase(prompt string) (string, error) {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return readLine(os.Stdin)
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
	return readLine(terminal)
}

// readLine reads one line and nothing behind it.
func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReaderSize(oneByte{r}, 16).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.Join(errors.New("no passphrase given"), err)
	}
	return line, nil
}

// oneByte reads byte by byte.
type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

// choosePassphrase asks twice.
func choosePassphrase() (string, error) {
	first, err := askPassphrase("Passphrase for signing.key: ")
	if err != nil {
		return "", err
	}
	second, err := askPassphrase("Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passphrases differ")
	}
	return first, nil
}
