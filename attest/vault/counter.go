package vault

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/tpm"
)

const counterSize = 8 // bytes, big-endian

// area is what defines the counter. Its hash is the counter's name, which is in every policy.
func area(written bool) tpm2.TPMSNVPublic {
	return tpm2.TPMSNVPublic{
		NVIndex: Index, NameAlg: tpm2.TPMAlgSHA256, DataSize: counterSize,
		Attributes: tpm2.TPMANV{NT: tpm2.TPMNTCounter, AuthRead: true, AuthWrite: true, NoDA: true, Written: written},
	}
}

// name is what the TPM calls an index of that area: the algorithm and the hash.
func name(written bool) tpm2.TPM2BName {
	sum := sha256.Sum256(tpm2.Marshal(area(written)))
	return tpm2.TPM2BName{Buffer: append(binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMAlgSHA256)), sum[:]...)}
}

// handles are of the counter, by its own password.
func handles(written bool) (tpm2.AuthHandle, tpm2.NamedHandle) {
	n := name(written)
	return tpm2.AuthHandle{Handle: Index, Name: n, Auth: tpm2.PasswordAuth(nil)}, tpm2.NamedHandle{Handle: Index, Name: n}
}

// there tells how much of the counter there is.
type there int

const (
	absent  there = iota
	defined       // without a value
	written
)

// find looks for the counter. An ErrOccupied says that something else is there.
func find(t transport.TPM) (there, error) {
	public, err := tpm2.NVReadPublic{NVIndex: Index}.Execute(t)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return absent, nil
	}
	if err != nil {
		return absent, err
	}
	switch string(public.NVName.Buffer) {
	case string(name(true).Buffer):
		return written, nil
	case string(name(false).Buffer):
		return defined, nil
	}
	return absent, ErrOccupied
}

// Count is the counter's value. The counter is defined if it is not there yet.
func Count(t transport.TPM) (uint64, error) {
	n, err := count(tpm.Patient(t))
	if err != nil {
		return 0, fmt.Errorf("reading the TPM's counter: %w", explain(err))
	}
	return n, nil
}

func count(t transport.TPM) (uint64, error) {
	is, err := find(t)
	if err != nil {
		return 0, err
	}
	if is == absent {
		_, err := tpm2.NVDefineSpace{AuthHandle: owner, PublicInfo: tpm2.New2B(area(false))}.Execute(t)
		switch {
		case errors.Is(err, tpm2.TPMRCNVSpace):
			return 0, fmt.Errorf("%w: %w", ErrFull, err)
		case err != nil:
			return 0, password(err)
		}
	}
	if is != written {
		if err := increment(t, false); err != nil {
			return 0, err
		}
	}
	auth, index := handles(true)
	read, err := tpm2.NVRead{AuthHandle: auth, NVIndex: index, Size: counterSize}.Execute(t)
	if err != nil {
		return 0, err
	}
	if len(read.Data.Buffer) != counterSize {
		return 0, fmt.Errorf("it has %d bytes", len(read.Data.Buffer))
	}
	return binary.BigEndian.Uint64(read.Data.Buffer), nil
}

// Raise adds one to the counter, or more where it was not there, and gives its value: what was sealed until less can
// not be had any more.
func Raise(t transport.TPM) (uint64, error) {
	p := tpm.Patient(t)
	_, err := count(p)
	if err == nil {
		err = increment(p, true)
	}
	var n uint64
	if err == nil {
		n, err = count(p)
	}
	if err != nil {
		return 0, fmt.Errorf("raising the TPM's counter: %w", explain(err))
	}
	return n, nil
}

func increment(t transport.TPM, written bool) error {
	auth, index := handles(written)
	_, err := tpm2.NVIncrement{AuthHandle: auth, NVIndex: index}.Execute(t)
	return err
}
