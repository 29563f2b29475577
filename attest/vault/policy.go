package vault

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/tpm"
)

// blob is one of a policy without a secret.
func (p Policy) blob() (blob, error) {
	b := blob{until: p.Until}
	if len(p.Boots) == 0 || len(p.Boots) > MaxBoots {
		return b, fmt.Errorf("there are %d sets of PCRs to seal to, not 1 to %d", len(p.Boots), MaxBoots)
	}
	which := slices.Sorted(maps.Keys(p.Boots[0]))
	for _, pcr := range which {
		if pcr < 0 || pcr >= maxPCRs {
			return b, fmt.Errorf("there is no PCR %d", pcr)
		}
		b.bits[pcr/8] |= 1 << (pcr % 8)
	}
	for _, values := range p.Boots {
		if len(which) == 0 || !slices.Equal(slices.Sorted(maps.Keys(values)), which) {
			return b, errors.New("the sets of PCRs to seal to are not all of the same PCRs, or of none")
		}
		b.boots = append(b.boots, pcrPolicy(values))
	}
	return b, nil
}

// Under tells whether a blob was sealed under a policy. It does not ask the TPM, which may be another one.
func Under(text []byte, p Policy) bool {
	b, err := decode(text)
	if err != nil {
		return false
	}
	want, err := p.blob()
	return err == nil && b.bits == want.bits && b.until == want.until && slices.Equal(b.boots, want.boots)
}

// pcrs are the numbers of the PCRs that are sealed to.
func (b blob) pcrs() []int {
	var pcrs []int
	for pcr := range maxPCRs {
		if b.bits[pcr/8]&(1<<(pcr%8)) != 0 {
			pcrs = append(pcrs, pcr)
		}
	}
	return pcrs
}

func selection(bits [3]byte) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: bits[:]}}}
}

// The policy's digest, TPM 2.0 Part 3: each command makes another one of it (PolicyPCR 23.7, PolicyOR 23.6, PolicyNV
// 23.9).
func (b blob) policy() digest {
	d := b.boots[0]
	if len(b.boots) > 1 {
		all := make([]byte, 0, MaxBoots*len(d))
		for _, d := range b.boots {
			all = append(all, d[:]...)
		}
		d = step(digest{}, tpm2.TPMCCPolicyOR, all)
	}
	args := sha256.Sum256(slices.Concat(b.operand(), make([]byte, 2), binary.BigEndian.AppendUint16(nil, uint16(operation))))
	return step(d, tpm2.TPMCCPolicyNV, args[:], name(true).Buffer)
}

// pcrPolicy is the digest of a policy that is PolicyPCR alone.
func pcrPolicy(values tpm.PCRs) digest {
	var bits [3]byte
	h := sha256.New()
	for _, pcr := range slices.Sorted(maps.Keys(values)) {
		bits[pcr/8] |= 1 << (pcr % 8)
		v := values[pcr]
		h.Write(v[:])
	}
	return step(digest{}, tpm2.TPMCCPolicyPCR, tpm2.Marshal(selection(bits)), h.Sum(nil))
}

func step(before digest, code tpm2.TPMCC, parts ...[]byte) digest {
	return sha256.Sum256(slices.Concat(before[:], binary.BigEndian.AppendUint32(nil, uint32(code)), slices.Concat(parts...)))
}

// operation compares the counter with operand.
const operation = tpm2.TPMEOUnsignedLE

func (b blob) operand() []byte { return binary.BigEndian.AppendUint64(nil, b.until) }

// fulfil does in a session what policy is of.
func (b blob) fulfil(t transport.TPM, session tpm2.TPMHandle) error {
	if _, err := (tpm2.PolicyPCR{PolicySession: session, Pcrs: selection(b.bits)}).Execute(t); err != nil {
		return err
	}
	if len(b.boots) > 1 { // a PolicyOR of one there is not
		var list tpm2.TPMLDigest
		for _, d := range b.boots {
			list.Digests = append(list.Digests, tpm2.TPM2BDigest{Buffer: d[:]})
		}
		if _, err := (tpm2.PolicyOr{PolicySession: session, PHashList: list}).Execute(t); err != nil {
			return err
		}
	}
	auth, index := handles(true)
	_, err := tpm2.PolicyNV{
		AuthHandle: auth, NVIndex: index, PolicySession: session,
		OperandB: tpm2.TPM2BOperand{Buffer: b.operand()}, Operation: operation,
	}.Execute(t)
	if errors.Is(err, tpm2.TPMRCPolicy) {
		return ErrRaised
	}
	return err
}
