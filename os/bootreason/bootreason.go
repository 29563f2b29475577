// Package bootreason carries why a machine is rebooted to the boot after it: in an
// EFI variable, or where there are none in the kernel's store of messages that
// survive a warm reboot (pmsg, see Linux Documentation/admin-guide/ramoops.rst).
//
// The firmware may take long to write a variable, or for ever: call Save where
// that does no harm.
package bootreason

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Places are where records are kept.
type Places struct {
	Variables string // efivarfs
	Pmsg      string // the device that takes messages
	Store     string // where the messages of the last boot are shown
}

// Default is the places of a running system.
var Default = Places{
	Variables: "/sys/firmware/efi/efivars",
	Pmsg:      "/dev/pmsg0",
	Store:     "/sys/fs/pstore",
}

// ErrNowhere says that the machine has neither of the places.
var ErrNowhere = errors.New("this machine has nowhere to keep the reason of a reboot: neither EFI variables nor /dev/pmsg0")

const (
	variable = "EmberReboot-6f2a1c0e-8f0b-4f5d-9a63-3f9f6a1d7c52"

	// Non-volatile, for boot services and the running system: UEFI 2.10, section 8.2.
	attributes = "\x07\x00\x00\x00"

	immutable      = 0x10 // FS_IMMUTABLE_FL in linux/fs.h
	pmsgFilePrefix = "pmsg-"
)

// Save keeps a record, in place of any other, for the next boot.
func (p Places) Save(r Record) error {
	b := r.encode()
	errVariable := p.saveVariable(b)
	if errVariable == nil {
		return nil
	}
	err := writeFile(p.Pmsg, 0, b)
	if err == nil {
		return nil
	}
	if errors.Is(errVariable, fs.ErrNotExist) && errors.Is(err, fs.ErrNotExist) {
		return ErrNowhere
	}
	return fmt.Errorf("keeping the reason of the reboot: %w", errors.Join(errVariable, err))
}

func (p Places) saveVariable(b []byte) error {
	path := filepath.Join(p.Variables, variable)
	if err := removeVariable(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeFile(path, unix.O_CREAT|unix.O_EXCL, append([]byte(attributes), b...))
}

// writeFile writes in one call, as drivers want it.
func writeFile(path string, flags int, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|flags, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// removeVariable also removes one that efivarfs protects from "rm -rf", which is
// every one that it does not know.
func removeVariable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil && flags&immutable != 0 {
		if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags&^immutable)); err != nil {
			return fmt.Errorf("making %s mutable: %w", path, err)
		}
	}
	return os.Remove(path)
}

// Take gives the record of the last boot and forgets it. It is nil if there is none.
// What keeps one from being read or forgotten does not hide another.
func (p Places) Take() (*Record, error) {
	r, err := p.takeVariable()
	if r == nil {
		var errMessage error
		r, errMessage = p.takeMessage()
		err = errors.Join(err, errMessage)
	}
	if err != nil {
		err = fmt.Errorf("taking the reason of the last reboot: %w", err)
	}
	return r, err
}

func (p Places) takeVariable() (*Record, error) {
	path := filepath.Join(p.Variables, variable)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = removeVariable(path)
	r, ok := decode(b)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s holds something else", path), err)
	}
	return &r, err
}

func (p Places) takeMessage() (*Record, error) {
	entries, err := os.ReadDir(p.Store)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), pmsgFilePrefix) {
			continue
		}
		path := filepath.Join(p.Store, e.Name())
		b, err := os.ReadFile(path)
		if r, ok := decode(b); ok {
			return &r, errors.Join(append(errs, os.Remove(path))...)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
