// Package bootreason carries why a machine is rebooted to the boot after it: in an
// EFI variable, where there are none in the kernel's store of messages that survive a
// warm reboot (pmsg, see Linux Documentation/admin-guide/ramoops.rst), and where there
// is no such store in the kernel's log, of which the kernel keeps the last 10 KiB in
// ERST as it stops.
//
// The firmware may take long to write a variable, or for ever: call Save where that
// does no harm. ERST it writes when nobody is left who could wait for it.
package bootreason

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ember-os/ember/os/crash"
	"golang.org/x/sys/unix"
)

// Places are where records are kept.
type Places struct {
	Variables string // efivarfs
	Pmsg      string // the device that takes messages
	Log       string // the kernel's
	DumpLog   string // the kernel's parameter that has it kept at every end
	Backend   string // the kernel's parameter that names its store of crashes: ERST alone takes such logs
	Store     string // where the messages of the last boot are shown
}

// Default is the places of a running system.
var Default = Places{
	Variables: "/sys/firmware/efi/efivars",
	Pmsg:      "/dev/pmsg0",
	Log:       "/dev/kmsg",
	DumpLog:   "/sys/module/printk/parameters/always_kmsg_dump",
	Backend:   "/sys/module/pstore/parameters/backend",
	Store:     "/sys/fs/pstore",
}

// ErrNowhere says that the machine has none of the places.
var ErrNowhere = errors.New("this machine has nowhere to keep the reason of a reboot: no EFI variables, no /dev/pmsg0 and no ERST")

const (
	variable = "EmberReboot-6f2a1c0e-8f0b-4f5d-9a63-3f9f6a1d7c52"

	// Non-volatile, for boot services and the running system: UEFI 2.10, section 8.2.
	attributes = "\x07\x00\x00\x00"

	immutable      = 0x10 // FS_IMMUTABLE_FL in linux/fs.h
	pmsgFilePrefix = "pmsg-"
	erst           = "erst\n"
	debug          = "<15>" // a message of a user's program that the kernel does not print on consoles
)

// Save keeps a record, in place of any other, for the next boot.
func (p Places) Save(r Record) error {
	b := r.encode()
	nowhere := true
	var errs []error
	for _, save := range []func([]byte) error{p.saveVariable, p.saveMessage, p.saveLog} {
		err := save(b)
		if err == nil {
			return nil
		}
		nowhere = nowhere && errors.Is(err, fs.ErrNotExist)
		errs = append(errs, err)
	}
	if nowhere {
		return ErrNowhere
	}
	return fmt.Errorf("keeping the reason of the reboot: %w", errors.Join(errs...))
}

func (p Places) saveMessage(b []byte) error { return writeFile(p.Pmsg, 0, b) }

func (p Places) saveLog(b []byte) error {
	backend, err := os.ReadFile(p.Backend)
	if err != nil {
		return err
	}
	if string(backend) != erst {
		return fmt.Errorf("the kernel's store of crashes is no ERST: %w", fs.ErrNotExist)
	}
	if err := writeFile(p.DumpLog, 0, []byte("Y")); err != nil {
		return err
	}
	return writeFile(p.Log, 0, append([]byte(debug), b...))
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
	r, errVariable := p.takeVariable()
	stored, errStore := p.takeStored()
	if r == nil {
		r = stored
	}
	if err := errors.Join(errVariable, errStore); err != nil {
		return r, fmt.Errorf("taking the reason of the last reboot: %w", err)
	}
	return r, nil
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

// takeStored looks at messages, and at the logs of kernels that stopped in order, for
// which nobody else has a use.
func (p Places) takeStored() (*Record, error) {
	entries, err := os.ReadDir(p.Store)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var last *Record
	var errs []error
	for _, e := range entries {
		message, log := strings.HasPrefix(e.Name(), pmsgFilePrefix), strings.HasPrefix(e.Name(), crash.FilePrefix)
		if !message && !log {
			continue
		}
		path := filepath.Join(p.Store, e.Name())
		b, err := os.ReadFile(path)
		errs = append(errs, err)
		if log && !crash.Orderly(string(b)) {
			continue
		}
		r, found := decode(b)
		if found && (last == nil || r.Time.After(last.Time)) {
			last = &r
		}
		if found || log {
			errs = append(errs, os.Remove(path))
		}
	}
	return last, errors.Join(errs...)
}
