package vectors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/vault"
)

// sealingVector is a key that a TPM has sealed, for one set of values or for several.
type sealingVector struct {
	PCRs        []int      `json:"pcrs"`
	Values      [][]octets `json:"values"` // for each boot that it is for, in the order of pcrs
	Until       uint64     `json:"until"`
	PolicyPCR   []octets   `json:"policyPCR"` // the digest for each
	Counter     octets     `json:"counter"`   // TPMS_NV_PUBLIC
	CounterName octets     `json:"counterName"`
	Policy      octets     `json:"policy"`
	Blob        octets     `json:"blob"` // as swtpm has made it
}

func (v *sealingVector) fill() {
	v.PolicyPCR = nil
	var digests [][]byte
	for _, boot := range v.Values {
		values := make(map[int][]byte)
		for i, pcr := range v.PCRs {
			values[pcr] = boot[i]
		}
		digests = append(digests, policyPCR(v.PCRs, values))
		v.PolicyPCR = append(v.PolicyPCR, digests[len(digests)-1])
	}
	before := digests[0]
	if len(digests) > 1 {
		before = policyOR(digests)
	}
	v.Counter, v.CounterName = counter, counterName()
	v.Policy = policyNV(before, v.Until, v.CounterName)
}

// parts are the two of a blob that the TPM has made, behind what follows from the policy.
func (v *sealingVector) parts() (public, private []byte, err error) {
	bits := []byte{0, 0, 0}
	for _, pcr := range v.PCRs {
		bits[pcr/8] |= 1 << (pcr % 8)
	}
	head := append([]byte("EMBERSEA"), 1, byte(len(v.Values)))
	head = binary.BigEndian.AppendUint64(append(head, bits...), v.Until)
	for _, d := range v.PolicyPCR {
		head = append(head, d...)
	}
	rest, ok := bytes.CutPrefix(v.Blob, head)
	if !ok {
		return nil, nil, errors.New("the blob does not begin so")
	}
	r := &reader{b: rest}
	public, private = r.sized(), r.sized()
	return public, private, r.end()
}

// policyOf is the policy in the TPMT_PUBLIC of a sealed object.
func policyOf(public []byte) ([]byte, error) {
	r := &reader{b: public}
	if kind, name, attributes := r.u16(), r.u16(), r.u32(); kind != 0x08 || name != sha256ID || attributes != 1<<1|1<<4|1<<10 { // fixedTPM, fixedParent, noDA
		return nil, errors.New("it is no sealed object")
	}
	policy := r.sized()
	r.u16()   // no scheme
	r.sized() // unique
	return policy, r.end()
}

func (v *sealingVector) policy() (p vault.Policy) {
	p.Until = v.Until
	for _, boot := range v.Values {
		values := make(tpm.PCRs)
		for i, pcr := range v.PCRs {
			values[pcr] = [32]byte(boot[i])
		}
		p.Boots = append(p.Boots, values)
	}
	return p
}

func TestSealing(t *testing.T) {
	all := vectors(t, "sealing.json", func() []sealingVector {
		p := attesttest.New(t, "sealing")
		set := func(b byte) []octets {
			return []octets{bytes.Repeat([]byte{b}, 32), bytes.Repeat([]byte{b + 1}, 32), make(octets, 32), bytes.Repeat([]byte{b + 2}, 32)}
		}
		made := []sealingVector{{Values: [][]octets{set(1)}, Until: 1}, {Values: [][]octets{set(1), set(4), set(7)}, Until: 1<<40 + 5}}
		for i := range made {
			made[i].PCRs = []int{4, 7, 9, 11}
			made[i].fill()
			made[i].Blob = must[[]byte](t)(vault.Seal(p, bytes.Repeat([]byte{9}, 16), made[i].policy()))
		}
		return made
	})
	for _, v := range all {
		again := v
		again.fill()
		for i, d := range again.PolicyPCR {
			equal(t, "a digest", d, v.PolicyPCR[i])
		}
		equal(t, "the counter", again.Counter, v.Counter)
		equal(t, "the counter's name", again.CounterName, v.CounterName)
		equal(t, "the policy", again.Policy, v.Policy)
		public, private, err := v.parts()
		if err != nil || len(private) == 0 {
			t.Fatalf("the blob: %v", err)
		}
		equal(t, "the TPM's policy", must[[]byte](t)(policyOf(public)), v.Policy)
		if !vault.Under(v.Blob, v.policy()) {
			t.Error("here the blob is under another policy")
		}
		other := v.policy()
		other.Until++
		if vault.Under(v.Blob, other) {
			t.Error("here the blob is under any policy")
		}
	}
}
