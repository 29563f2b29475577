package power

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Button is an input device with a power key: the one of the case, which ACPI
// makes an input device, or the one of a keyboard.
type Button struct {
	Name string // as its driver calls it

	events io.ReadCloser
}

// From linux/input-event-codes.h and linux/input.h.
const (
	evKey      = 0x01
	keyPower   = 116
	keyMax     = 0x2ff
	pressed    = 1
	eventSize  = 24 // 64 bits: two words of time, type, code, value
	typeOffset = 16
)

// Buttons opens the buttons among the input devices in dir, which is /dev/input.
// Those that are plugged in later are not heard.
func Buttons(dir string) ([]*Button, error) {
	paths, _ := filepath.Glob(filepath.Join(dir, "event*")) // the pattern is good
	var buttons []*Button
	var errs []error
	for _, path := range paths {
		b, err := openButton(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("looking for power buttons: %w", err))
		} else if b != nil {
			buttons = append(buttons, b)
		}
	}
	return buttons, errors.Join(errs...)
}

// openButton gives nil for a device without a power key.
func openButton(path string) (*Button, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	var keys [keyMax/8 + 1]byte
	var name [256]byte
	var ioctlErr error
	err = raw.Control(func(fd uintptr) {
		ioctlErr = read(fd, 0x20+evKey, keys[:]) // EVIOCGBIT(EV_KEY)
		if ioctlErr == nil {
			ioctlErr = read(fd, 0x06, name[:]) // EVIOCGNAME
		}
	})
	if err := errors.Join(err, ioctlErr); err != nil || keys[keyPower/8]&(1<<(keyPower%8)) == 0 {
		return nil, errors.Join(err, file.Close())
	}
	text, _, _ := bytes.Cut(name[:], []byte{0})
	return &Button{string(text), file}, nil
}

// read does an evdev ioctl that fills a buffer: _IOC(_IOC_READ, 'E', number, len).
func read(fd uintptr, number uintptr, buf []byte) error {
	request := 2<<30 | uintptr(len(buf))<<16 | 'E'<<8 | number
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(&buf[0])))
	if errno != 0 {
		return errno
	}
	return nil
}

// Run asks for a power-off whenever the button is pressed, until ctx ends or the
// device goes away.
func (b *Button) Run(ctx context.Context, to chan<- Request) error {
	defer context.AfterFunc(ctx, func() { b.events.Close() })()
	buf := make([]byte, 64*eventSize)
	for {
		n, err := b.events.Read(buf) // whole events only
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listening to power button %q: %w", b.Name, err)
		}
		for event := buf[:n]; len(event) >= eventSize; event = event[eventSize:] {
			if isPress(event[typeOffset:]) {
				Request{PowerOff, fmt.Sprintf("power button %q", b.Name)}.send(ctx, to)
			}
		}
	}
}

func isPress(event []byte) bool {
	native := binary.NativeEndian
	return native.Uint16(event) == evKey && native.Uint16(event[2:]) == keyPower && native.Uint32(event[4:]) == pressed
}
