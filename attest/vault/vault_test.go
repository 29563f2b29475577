package vault_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/vault"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

var secret = bytes.Repeat([]byte{7}, 32)

// boot is what the machine measures at each start.
func boot(t testing.TB, p *attesttest.TPM) {
	t.Helper()
	p.Boot(attesttest.Firmware()...)
}

// booted is a TPM whose machine has started.
func booted(t testing.TB, name string) *attesttest.TPM {
	t.Helper()
	p := attesttest.New(t, name)
	boot(t, p)
	return p
}

func reboot(t *testing.T, p *attesttest.TPM) {
	t.Helper()
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	boot(t, p)
}

func read(t *testing.T, p transport.TPM, pcrs ...int) tpm.PCRs {
	t.Helper()
	values, err := tpm.ReadPCRs(p, pcrs...)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func count(t *testing.T, p transport.TPM) uint64 {
	t.Helper()
	n, err := vault.Count(p)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// policy is of the PCRs as they are, and the counter as it is.
func policy(t *testing.T, p transport.TPM) vault.Policy {
	t.Helper()
	return vault.Policy{Boots: []tpm.PCRs{read(t, p, 7, 9, 11)}, Until: count(t, p)}
}

func seal(t *testing.T, p transport.TPM, under vault.Policy) []byte {
	t.Helper()
	blob, err := vault.Seal(p, secret, under)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(blob, secret) {
		t.Fatal("the blob shows the secret")
	}
	return blob
}

func opens(t *testing.T, p transport.TPM, blob []byte) {
	t.Helper()
	if got, err := vault.Unseal(p, blob); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("unsealed %x, %v", got, err)
	}
}

func refused(t *testing.T, p transport.TPM, blob []byte, why error) {
	t.Helper()
	if got, err := vault.Unseal(p, blob); !errors.Is(err, why) || got != nil {
		t.Errorf("unsealed %x, %v; want %v", got, err, why)
	}
}

func TestReset(t *testing.T) {
	p := booted(t, "one")
	blob := seal(t, p, policy(t, p))
	opens(t, p, blob)
	opens(t, p, blob) // nothing is left in the TPM's three slots
	for range 3 {
		reboot(t, p)
		opens(t, p, blob)
	}
	p.PowerOff()
	if err := p.PowerOn(); err != nil {
		t.Fatal(err)
	}
	boot(t, p)
	opens(t, p, blob)
}

func TestOtherPCRs(t *testing.T) {
	p := booted(t, "one")
	blob := seal(t, p, policy(t, p))
	for _, pcr := range []int{7, 9, 11} {
		if err := p.Extend(pcr, secret); err != nil {
			t.Fatal(err)
		}
		refused(t, p, blob, vault.ErrPCRs)
		reboot(t, p)
	}
	if err := p.Extend(4, secret); err != nil { // is not sealed to
		t.Fatal(err)
	}
	opens(t, p, blob)
	if err := tpm.Cap(p); err != nil {
		t.Fatal(err)
	}
	refused(t, p, blob, vault.ErrPCRs)
	capped := seal(t, p, policy(t, p))
	opens(t, p, capped)
	reboot(t, p)
	refused(t, p, capped, vault.ErrPCRs)
}

// TestSealedBefore seals to the values of another boot, of which there may be several.
func TestSealedBefore(t *testing.T) {
	p := booted(t, "one")
	under := policy(t, p)
	here := under.Boots[0]
	under.Boots = nil
	for i := range vault.MaxBoots {
		other := tpm.PCRs{7: here[7], 9: here[9], 11: {byte(i)}}
		under.Boots = append(under.Boots, other)
	}
	if err := tpm.Cap(p); err != nil {
		t.Fatal(err)
	}
	refused(t, p, seal(t, p, under), vault.ErrPCRs)
	for i := range vault.MaxBoots {
		one := under
		one.Boots = append([]tpm.PCRs{}, under.Boots...)
		one.Boots[i] = here
		blob := seal(t, p, one)
		refused(t, p, blob, vault.ErrPCRs)
		reboot(t, p)
		opens(t, p, blob)
		if !vault.Under(blob, one) || vault.Under(blob, under) {
			t.Error("a blob does not know its policy")
		}
		if err := tpm.Cap(p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRaise(t *testing.T) {
	p := booted(t, "one")
	now := policy(t, p)
	next := now
	next.Until++
	first, second := seal(t, p, now), seal(t, p, next)
	opens(t, p, first)
	opens(t, p, second)
	if n, err := vault.Raise(p); n != next.Until || err != nil {
		t.Fatalf("raised to %d, %v", n, err)
	}
	refused(t, p, first, vault.ErrRaised)
	opens(t, p, second)
	reboot(t, p)
	refused(t, p, first, vault.ErrRaised)
	opens(t, p, second)
	if n := count(t, p); n != next.Until {
		t.Errorf("after a reset the counter is %d", n)
	}
}

func TestCounterDeleted(t *testing.T) {
	p := booted(t, "one")
	under := policy(t, p)
	blob := seal(t, p, under)
	if err := p.DeleteNV(vault.Index); err != nil {
		t.Fatal(err)
	}
	refused(t, p, blob, vault.ErrRaised)
	if n := count(t, p); n <= under.Until {
		t.Errorf("made again, the counter is %d, and was %d", n, under.Until)
	}
	refused(t, p, blob, vault.ErrRaised)

	// An index of another kind that has the value is not the counter.
	blob = seal(t, p, policy(t, p))
	if err := p.DeleteNV(vault.Index); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteNV(vault.Index, binary.BigEndian.AppendUint64(nil, 0)); err != nil {
		t.Fatal(err)
	}
	refused(t, p, blob, vault.ErrOccupied)
}

// TestForged has a blob say that it was sealed for what is there now.
func TestForged(t *testing.T) {
	p := booted(t, "one")
	now := policy(t, p)
	other := now
	other.Boots = []tpm.PCRs{{7: now.Boots[0][7], 9: now.Boots[0][9], 11: {1}}}
	for _, blob := range [][]byte{
		append(bytes.Clone(seal(t, p, now)[:vault.HeadEnd+32]), seal(t, p, other)[vault.HeadEnd+32:]...),
		func() []byte {
			blob := seal(t, p, now)
			blob[vault.HeadEnd-1]++ // the counter
			return blob
		}(),
	} {
		refused(t, p, blob, vault.ErrBlob)
	}
}

func TestAnotherTPM(t *testing.T) {
	p, other := booted(t, "one"), booted(t, "two")
	under := policy(t, p)
	under.Until += 100
	blob := seal(t, p, under)
	count(t, other)
	refused(t, other, blob, vault.ErrForeign)
	opens(t, p, blob)
}

func TestCleared(t *testing.T) {
	p := booted(t, "one")
	under := policy(t, p)
	under.Until += 100
	blob := seal(t, p, under)
	_, err := tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHLockout, Auth: tpm2.PasswordAuth(nil)}}.Execute(p)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, p, blob, vault.ErrForeign)
	reboot(t, p)
	count(t, p)
	refused(t, p, blob, vault.ErrForeign)
	opens(t, p, seal(t, p, policy(t, p)))
}

func TestDamaged(t *testing.T) {
	p := booted(t, "one")
	blob := seal(t, p, policy(t, p))
	for i := range blob {
		damaged := bytes.Clone(blob)
		damaged[i] ^= 1
		if got, err := vault.Unseal(p, damaged); err == nil {
			t.Errorf("with byte %d damaged it is %x", i, got)
		}
	}
	for i := range blob {
		refused(t, p, blob[:i], vault.ErrBlob)
	}
	refused(t, p, append(bytes.Clone(blob), 0), vault.ErrBlob)
	opens(t, p, blob)
}

func TestPolicy(t *testing.T) {
	p := booted(t, "one")
	values := read(t, p, 7)
	for name, under := range map[string]vault.Policy{
		"no boot":    {},
		"nine boots": {Boots: []tpm.PCRs{values, values, values, values, values, values, values, values, values}},
		"no PCR":     {Boots: []tpm.PCRs{{}}},
		"PCR 24":     {Boots: []tpm.PCRs{{24: {}}}},
		"others":     {Boots: []tpm.PCRs{values, read(t, p, 9)}},
	} {
		if _, err := vault.Seal(p, secret, under); err == nil {
			t.Errorf("%s: sealed", name)
		}
		if vault.Under(seal(t, p, vault.Policy{Boots: []tpm.PCRs{values}}), under) {
			t.Errorf("%s: sealed under it", name)
		}
	}
	for _, size := range []int{0, vault.MaxSecret + 1} {
		if _, err := vault.Seal(p, make([]byte, size), vault.Policy{Boots: []tpm.PCRs{values}}); err == nil {
			t.Errorf("%d bytes are sealed", size)
		}
	}
	blob, err := vault.Seal(p, make([]byte, vault.MaxSecret), vault.Policy{Boots: []tpm.PCRs{values}, Until: count(t, p)})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := vault.Unseal(p, blob); len(got) != vault.MaxSecret || err != nil {
		t.Errorf("%x, %v", got, err)
	}
}
