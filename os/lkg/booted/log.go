package booted

import (
	"slices"

	"github.com/ember-os/ember/attest/eventlog"
)

// initrdPCRs are those into which initrds are measured, each with the SHA-256 of its bytes: 9 by Linux's UEFI
// stub and by GRUB, 11 by systemd's stub.
var initrdPCRs = []int{9, 11}

// measured gives the digests of all events of initrdPCRs. There may be no log.
func measured(log []byte) (all []Digest, err error) {
	if len(log) == 0 {
		return nil, nil
	}
	events, err := eventlog.Parse(log)
	for _, e := range events {
		if slices.Contains(initrdPCRs, e.PCR) {
			all = append(all, e.Digest)
		}
	}
	return all, err
}
