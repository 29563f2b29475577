package console

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// usualLine is what BMCs have.
const usualLine = "115200n8"

// line is how a serial line sends.
type line struct {
	speed uint32 // bit/s
	flags uint32 // of termios: size, parity and flow control
}

// lineFlags are those that a line says.
const lineFlags = unix.CSIZE | unix.PARENB | unix.PARODD | unix.CRTSCTS

// lineForm is the form of the kernel's admin-guide/serial-console.rst.
var lineForm = regexp.MustCompile(`^([1-9][0-9]*)(?:([noe])(?:([78])(r)?)?)?$`)

// parseLine reads a speed in bit/s, then, each only behind the one before, parity n,
// o or e, 7 or 8 bits, and r for flow control by RTS and CTS. What is left out is as
// in usualLine.
func parseLine(text string) (line, error) {
	parts := lineForm.FindStringSubmatch(text)
	if parts == nil {
		return line{}, fmt.Errorf("%q is not a speed with parity, bits and flow control, such as %s", text, usualLine)
	}
	speed, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil {
		return line{}, fmt.Errorf("%q has an impossible speed", text)
	}
	l := line{uint32(speed), unix.CS8}
	if parts[3] == "7" {
		l.flags = unix.CS7
	}
	switch parts[2] {
	case "o":
		l.flags |= unix.PARENB | unix.PARODD
	case "e":
		l.flags |= unix.PARENB
	}
	if parts[4] == "r" {
		l.flags |= unix.CRTSCTS
	}
	return l, nil
}

// setLine sets the serial line of p. One that text does not describe it sets to
// usualLine, and returns an error: a typing error must not make a console dark.
func (p *Port) setLine(text string) error {
	l, mistake := parseLine(text)
	if mistake != nil {
		mistake = fmt.Errorf("%w; it gets that", mistake)
		l, _ = parseLine(usualLine)
	}
	return errors.Join(mistake, p.control(l.set))
}

// set sets the terminal fd. It fails too if the line's driver has no such speed and
// takes another.
func (l line) set(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return err
	}
	t.Cflag = t.Cflag&^(lineFlags|unix.CBAUD|unix.CBAUD<<unix.IBSHIFT) | l.flags | unix.BOTHER
	t.Ospeed = l.speed
	if err := unix.IoctlSetTermios(fd, unix.TCSETS2, t); err != nil {
		return err
	}
	if t, err = unix.IoctlGetTermios(fd, unix.TCGETS2); err != nil {
		return err
	}
	if t.Ospeed != l.speed {
		return fmt.Errorf("it has no %d bit/s, and has %d", l.speed, t.Ospeed)
	}
	return nil
}
