package tpm

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// PCRs are values of the SHA-256 bank, by number.
type PCRs map[int][sha256.Size]byte

// ReadPCRs reads PCRs. They are not read at once: something may be extended in between. The error is an
// ErrNoSHA256 where there is no such bank.
func ReadPCRs(t transport.TPM, pcrs ...int) (PCRs, error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(pcrs)))
	values, err := readPCRs(Patient(t), sorted)
	if err != nil {
		return nil, fmt.Errorf("reading the PCRs: %w", err)
	}
	m := PCRs{}
	for i, pcr := range sorted {
		m[pcr] = [sha256.Size]byte(values[i])
	}
	return m, nil
}

// readPCRs reads PCRs whose numbers are in order.
func readPCRs(t transport.TPM, pcrs []int) ([][]byte, error) {
	var values [][]byte
	for len(values) < len(pcrs) { // a TPM gives eight or so at once, the lowest first
		read, err := tpm2.PCRRead{PCRSelectionIn: selection(pcrs[len(values):])}.Execute(t)
		if err != nil {
			return nil, err
		}
		if len(read.PCRValues.Digests) == 0 {
			return nil, ErrNoSHA256
		}
		for _, d := range read.PCRValues.Digests {
			if len(d.Buffer) != sha256.Size || len(values) == len(pcrs) {
				return nil, ErrNoSHA256
			}
			values = append(values, d.Buffer)
		}
	}
	return values, nil
}

// Resets is the TPM's resetCount: how often the machine was started, but for what it has slept through, since
// the TPM was cleared.
func Resets(t transport.TPM) (uint32, error) {
	clock, err := tpm2.ReadClock{}.Execute(Patient(t))
	if err != nil {
		return 0, fmt.Errorf("reading the TPM's clock: %w", err)
	}
	return clock.CurrentTime.ClockInfo.ResetCount, nil
}
