package measured

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"unicode/utf16"

	"github.com/ember-os/ember/attest/eventlog"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
)

// The reasons why nothing can be said of another boot, which people read.
var (
	ErrUnmeasured = errors.New("this machine was not booted with a unified kernel image (//os:uki) that UEFI has measured into a TPM 2.0")
	ErrAdded      = errors.New("the unified kernel image was given another command line, or files, which a boot from the disk would not be; put the command line into it (--//os:cmdline)")
	ErrLoader     = errors.New("with Secure Boot, what has loaded the unified kernel image leaves a trace in PCR 7 that a boot from the disk does not; have the firmware load it, by PXE or HTTP")
)

// MaxTried is how many boot entries a firmware may try in vain before the disk's, without Secure Boot.
const MaxTried = 7

// What firmware measures into PCR 4 around a boot entry (TCG PC Client Platform Firmware Profile 1.05, 10.4.4).
var (
	calling   = sha256.Sum256([]byte("Calling EFI Application from Boot Option"))
	returning = sha256.Sum256([]byte("Returning from EFI Application from Boot Option"))
)

// secureBoot is what is measured into PCR 7 if Secure Boot is on: the variable SecureBoot with the value 1 as a
// UEFI_VARIABLE_DATA (the same, 10.2.6).
var secureBoot = func() [sha256.Size]byte {
	name := utf16.Encode([]rune("SecureBoot"))
	data := []byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	data = binary.LittleEndian.AppendUint64(data, uint64(len(name)))
	data = binary.LittleEndian.AppendUint64(data, 1)
	for _, c := range name {
		data = binary.LittleEndian.AppendUint16(data, c)
	}
	return sha256.Sum256(append(data, 1))
}()

// Disk predicts the PCRs of a boot of the same unified kernel image from a disk: what a secret is sealed to that such
// a boot is to have. The error says why nothing can be predicted.
//
// PCR 11 is what the image's sections make of it, and PCR 9 the command line and the initrd as the kernel got them
// from the stub: neither depends on where the image came from. With Secure Boot these two and PCR 7 are enough: it
// says whose signature the image has, and firmware starts no other. Without, any program could extend PCR 9 and 11
// with the same digests and then read what is sealed, so PCR 4 is needed too, which has the digest of each program
// that firmware starts, before it runs. That one also has a trace of each boot entry that was tried before, so there
// are several predictions: for none to MaxTried such entries.
func (b Boot) Disk() ([]tpm.PCRs, error) {
	at := b.program()
	if at < 0 {
		return nil, ErrUnmeasured
	}
	if b.PCRs[12] != [sha256.Size]byte{} || b.PCRs[13] != [sha256.Size]byte{} {
		return nil, ErrAdded
	}
	values := tpm.PCRs{7: b.PCRs[7], 9: eventlog.Replay(b.Events[at:], 9), 11: b.PCRs[11]}
	if slices.ContainsFunc(b.Events, func(e eventlog.Event) bool { return e.PCR == 7 && e.Digest == secureBoot }) {
		if slices.IndexFunc(b.Events, isProgram) != at {
			return nil, ErrLoader
		}
		return []tpm.PCRs{values}, nil
	}
	if slices.ContainsFunc(b.Events, func(e eventlog.Event) bool { return e.PCR == 7 && e.Type == eventlog.Authority }) {
		return nil, ErrLoader
	}
	var boots []tpm.PCRs
	tried := eventlog.Replay(b.Events[:b.before(at)], 4)
	for range MaxTried + 1 {
		boot := tpm.PCRs{4: tried}
		for _, e := range b.Events[at:] {
			if e.PCR == 4 {
				boot[4] = eventlog.Extend(boot[4], e.Digest)
			}
		}
		for pcr, value := range values {
			boot[pcr] = value
		}
		boots = append(boots, boot)
		tried = eventlog.Extend(eventlog.Extend(tried, returning), calling)
	}
	return boots, nil
}

// Program is the digest (Authenticode) of the unified kernel image that was booted, as firmware has measured it.
func (b Boot) Program() (digest [sha256.Size]byte, is bool) {
	at := b.program()
	if at < 0 {
		return digest, false
	}
	return b.Events[at].Digest, true
}

// program is the event of the unified kernel image: the last program before its stub began to measure. It is -1 if
// there is none.
func (b Boot) program() int {
	at := -1
	for i, e := range b.Events {
		switch {
		case e.PCR == protocol.CapPCR:
			return at
		case isProgram(e):
			at = i
		}
	}
	return -1
}

// before is the first event that is not of every boot of this firmware: of the first program that a boot entry has
// started, at the latest the one at that index, or of the end of the first entry that was tried in vain.
func (b Boot) before(at int) int {
	separated := false
	for i, e := range b.Events[:at] {
		separated = separated || e.PCR == 4 && e.Type == eventlog.Separator
		if separated && (isProgram(e) || e.PCR == 4 && e.Digest == returning) {
			return i
		}
	}
	return at
}

func isProgram(e eventlog.Event) bool { return e.PCR == 4 && e.Type == eventlog.BootApplication }
