// Package tpm is what a machine does with its TPM 2.0 to attest: it finds the endorsement key and its
// certificate, makes the keys of this boot, quotes, and answers the server's credential.
//
// Nothing of it is persistent and nothing needs the owner's authorization, so it works on a TPM whose owner
// is somebody else, whose NV memory is full or whose persistent handles are taken. All its keys are exempt
// from the dictionary-attack protection (noDA) and the endorsement key is used by its policy, so it works
// during a lockout, and a machine that loses power over and over does not bring one about.
//
// The keys are primaries in the NULL hierarchy, with a random unique field: they end with the session, and a
// reset makes them impossible to have again.
//
// It takes a TPM through an interface; [Open] is for the one that Linux drives.
package tpm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/attest/protocol"
)

// Device is the TPM behind the kernel's resource manager, without which a TPM has room for three keys in all.
const Device = "/dev/tpmrm0"

// Log is where the kernel has the firmware's event log. securityfs has to be mounted.
const Log = "/sys/kernel/security/tpm0/binary_bios_measurements"

// Errors that stay until somebody changes something of the machine.
var (
	ErrNone      = errors.New("this machine has no TPM, or it is switched off in the firmware's setup")
	ErrVersion12 = errors.New("the TPM is of version 1.2, which cannot attest; where the firmware's setup offers 2.0, choose it")
	ErrFailure   = errors.New("the TPM has found itself faulty and answers nothing; switch the power off and on")
	ErrNoSHA256  = errors.New("the TPM has no SHA-256 PCRs; enable that bank in the firmware's setup")
)

// ErrBusy says that the TPM has asked for another try for Patience. Later it may be better.
var ErrBusy = errors.New("the TPM is busy")

// device is one that answers a whole write with a whole read.
type device struct{ file *os.File }

const maxResponse = 4096 // what Linux' driver has room for

// Open opens a TPM of Linux, Device. The error is ErrNone or ErrVersion12 where there is none that can attest.
func Open(path string) (transport.TPMCloser, error) {
	// The file stays blocking: of a non-blocking one the kernel has nothing to read until it is done, and a
	// poll that a signal interrupts is no reason to give up.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return device{os.NewFile(uintptr(fd), path)}, nil
	case errors.Is(err, unix.ENOENT):
		// The kernel's resource manager is for TPMs 2.0 only.
		if _, err := os.Stat(strings.Replace(path, "tpmrm", "tpm", 1)); err == nil {
			return nil, ErrVersion12
		}
		return nil, ErrNone
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, ErrNone
	}
	return nil, fmt.Errorf("opening the TPM: %w", &os.PathError{Op: "open", Path: path, Err: err})
}

// Send is of transport.TPM.
func (d device) Send(command []byte) ([]byte, error) {
	if _, err := d.file.Write(command); err != nil {
		return nil, fmt.Errorf("writing to the TPM: %w", err)
	}
	response := make([]byte, maxResponse)
	n, err := d.file.Read(response)
	if err != nil {
		return nil, fmt.Errorf("reading from the TPM: %w", err)
	}
	return response[:n], nil
}

// Close closes the device. The kernel removes what was loaded through it.
func (d device) Close() error { return d.file.Close() }

// Cap extends protocol.CapPCR with protocol.CapEvent, in every bank: no quote after it passes for one before.
// Doing it again does no harm.
func Cap(t transport.TPM) error {
	_, err := tpm2.PCREvent{
		PCRHandle: tpm2.AuthHandle{Handle: protocol.CapPCR, Auth: tpm2.PasswordAuth(nil)},
		EventData: tpm2.TPM2BEvent{Buffer: []byte(protocol.CapEvent)},
	}.Execute(patiently(t))
	if err != nil {
		return fmt.Errorf("extending PCR %d: %w", protocol.CapPCR, err)
	}
	return nil
}

// EventLog returns the firmware's event log, nil if the kernel has none. One of more than protocol.MaxLog
// bytes is an error.
func EventLog() ([]byte, error) { return readLog(Log) }

func readLog(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the event log: %w", err)
	}
	defer f.Close()
	log, err := io.ReadAll(io.LimitReader(f, protocol.MaxLog+1))
	if err != nil {
		return nil, fmt.Errorf("reading the event log: %w", err)
	}
	if len(log) > protocol.MaxLog {
		return nil, fmt.Errorf("the firmware's event log has more than %d bytes", protocol.MaxLog)
	}
	return log, nil
}
