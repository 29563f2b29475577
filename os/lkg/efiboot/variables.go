// Package efiboot is the part of a machine's firmware that decides what boots: its boot entries and their order, in
// EFI variables (UEFI 2.10, section 3).
//
// It is for the last-known-good system: entries of its slots behind the network, and the one to boot next. What is
// there already is not written again, since the memory for variables wears out, and entries of others stay, in their
// order. A firmware may forget or change any of it: Update puts it right.
package efiboot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Dir is where the kernel shows EFI variables (efivarfs).
const Dir = "/sys/firmware/efi/efivars"

// ErrNoVariables says that this machine has none, because it did not boot by UEFI.
var ErrNoVariables = errors.New("this machine has no EFI variables")

// Variables is a directory with a file for each variable: four bytes of attributes, and the value.
type Variables struct{ Dir string }

// GUIDs of vendors.
const (
	global = "8be4df61-93ca-11d2-aa0d-00e098032b8c" // UEFI 2.10, section 3.3
	loader = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f" // systemd's Boot Loader Interface
)

const (
	attributes = "\x07\x00\x00\x00" // non-volatile, for boot services and the running system
	maxValue   = 64 << 10
	immutable  = 0x10 // FS_IMMUTABLE_FL in linux/fs.h
)

func (v Variables) path(name, vendor string) string {
	return filepath.Join(v.Dir, name+"-"+vendor)
}

// read gives a value, and an fs.ErrNotExist if there is no such variable.
func (v Variables) read(name, vendor string) ([]byte, error) {
	f, err := os.Open(v.path(name, vendor))
	if err != nil {
		return nil, fmt.Errorf("reading EFI variable %s: %w", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxValue+1))
	if err == nil && (len(b) < len(attributes) || len(b) > maxValue) {
		err = fmt.Errorf("it has %d bytes", len(b))
	}
	if err != nil {
		return nil, fmt.Errorf("reading EFI variable %s: %w", name, err)
	}
	return b[len(attributes):], nil
}

// write sets a global variable, unless it has that value. It is set as a whole or not at all, as far as the firmware
// does that.
func (v Variables) write(name string, value []byte) error {
	path := v.path(name, global)
	if old, err := v.read(name, global); err == nil && string(old) == string(value) {
		return nil
	}
	err := mutable(path)
	if err == nil {
		err = os.WriteFile(path, append([]byte(attributes), value...), 0o600) // one write(2), as efivarfs wants it
	}
	switch {
	case errors.Is(err, unix.ENOSPC):
		err = fmt.Errorf("the firmware has no room for more (its setup, or efibootmgr, can remove entries that nobody needs): %w", err)
	case errors.Is(err, unix.EROFS):
		err = fmt.Errorf("they can only be read: %w", err)
	}
	if err != nil {
		return fmt.Errorf("setting EFI variable %s: %w", name, err)
	}
	return nil
}

// mutable takes off the protection against "rm -rf" that efivarfs gives variables that it does not know.
func mutable(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&immutable == 0 {
		return nil
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags&^immutable))
}
