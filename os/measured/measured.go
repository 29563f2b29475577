// Package measured has what was measured of this boot: the firmware's event log, compared with the TPM's PCRs, and what
// it says of the unified kernel image that the machine was started from, and of a boot of the same image from a disk.
//
// A TPM can not tell a machine that is itself not what it should be, so nothing here keeps anybody from anything but
// through what is sealed to a prediction (package attest/vault).
package measured

import (
	"crypto/sha256"
	"fmt"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/eventlog"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
)

// PCRs are those that Read compares with the log: boot programs, Secure Boot, what the kernel measures, and the
// stub's three.
var PCRs = []int{4, 7, 9, 11, 12, 13}

// Boot is what was measured. The zero Boot is of a machine without a TPM, or without a log.
type Boot struct {
	Events []eventlog.Event
	PCRs   tpm.PCRs // before the cap
}

// Read reads the log of this boot and compares it with the TPM. PCR 11 may have been capped. A machine of which the
// firmware, or what has started Linux, keeps no log has no events, and PCRs as they are.
func Read(t transport.TPM) (Boot, error) {
	log, err := tpm.EventLog()
	if err != nil {
		return Boot{}, err
	}
	return read(t, log)
}

func read(t transport.TPM, log []byte) (Boot, error) {
	values, err := tpm.ReadPCRs(t, PCRs...)
	if err != nil || log == nil {
		return Boot{PCRs: values}, err
	}
	events, err := eventlog.Parse(log)
	if err != nil {
		return Boot{}, err
	}
	b := Boot{events, tpm.PCRs{}}
	for _, pcr := range PCRs {
		b.PCRs[pcr] = eventlog.Replay(events, pcr)
		if b.PCRs[pcr] != values[pcr] && (pcr != protocol.CapPCR || !capped(b.PCRs[pcr], values[pcr])) {
			return Boot{}, fmt.Errorf("the event log makes another value of PCR %d than the TPM has", pcr)
		}
	}
	return b, nil
}

const maxCaps = 64 // each try to cap may have been one

// capped tells whether caps make one value of another.
func capped(before, value [sha256.Size]byte) bool {
	end := sha256.Sum256([]byte(protocol.CapEvent))
	for range maxCaps {
		if before = eventlog.Extend(before, end); before == value {
			return true
		}
	}
	return false
}
