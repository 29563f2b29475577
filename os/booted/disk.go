package booted

import "github.com/ember-os/ember/attest/tpm"

// Disk predicts the PCRs of a boot of the same unified kernel image from a disk: what a secret is sealed to that such
// a boot is to have. There are several where it depends on how many boot entries the firmware tries in vain before.
// The error says why nothing can be predicted.
func (b Boot) Disk() ([]tpm.PCRs, error) { return nil, nil }

// Program is the digest (Authenticode) of the unified kernel image that was booted, as firmware has measured it.
func (b Boot) Program() (digest [32]byte, is bool) { return [32]byte{}, false }
