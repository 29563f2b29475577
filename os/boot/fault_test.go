package boot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/vault"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
)

// TestNeverHealthy boots ten times with what makes no healthy node, and each time the power is cut. The good slot
// stays as it is, and the TPM counts, seals and opens.
func TestNeverHealthy(t *testing.T) {
	b := newBench(t, "never")
	first, second := system(t, "first"), system(t, "second")
	b.served = first
	b.boot(machine.Network, first)
	b.gets(1)
	b.commits()
	before := b.disk.Image()
	for i := uint32(1); i <= 10; i++ {
		if e := b.boot(machine.Network, second); e.Failures != i || !e.Means.Kexec {
			t.Errorf("boot %d is %+v", i, e)
		}
		b.gets(uint64(1 + i))
	}
	if !bytes.Equal(b.disk.Image(), before) {
		t.Error("the disk was written")
	}
	b.boot(machine.Disk, first)
	if err := b.opens(state.A); err != nil {
		t.Errorf("what was kept: %v", err)
	}

	b.served = second
	if e := b.boot(machine.Network, second); e.Failures != 12 {
		t.Errorf("the good boot is %+v", e)
	}
	b.gets(20)
	b.commits()
	b.holds(state.B, second, 20)
	if e := b.boot(machine.Disk, second); e.Failures != 1 {
		t.Errorf("the boot after it is %+v", e)
	}
	if err := b.opens(state.B); err != nil {
		t.Error(err)
	}
}

// unraised is a TPM whose power is cut before its counter is raised.
type unraised struct{ shared }

func (u unraised) Send(command []byte) ([]byte, error) {
	if tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCNVIncrement {
		return nil, errCut
	}
	return u.shared.Send(command)
}

var errCut = errors.New("the power is cut")

// TestCutBeforeRaise cuts the power once a configuration is kept, and before the one before it can not be opened any
// more. The next commit sees to that.
func TestCutBeforeRaise(t *testing.T) {
	b := newBench(t, "raise")
	first := system(t, "first")
	b.served = first
	b.boot(machine.Network, first)
	b.gets(1)
	b.commits()
	b.boot(machine.Network, first)
	b.gets(2)
	sealed := b.steps.sealed
	whole := b.node.tpm
	b.node.tpm = func() (transport.TPMCloser, error) { return unraised{shared{b.tpm}}, nil }
	if err := b.commit(t.Context()); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	b.node.tpm = whole
	b.holds(state.B, first, 2)

	b.boot(machine.Disk, first)
	if err := b.opens(state.A); err != nil {
		t.Errorf("before the counter is raised: %v", err)
	}
	if err := b.opens(state.B); err != nil {
		t.Errorf("what is kept: %v", err)
	}
	b.boot(machine.Network, first)
	b.steps.sealed = sealed
	b.has(2)
	slots := b.holds(state.B, first, 2).Slots
	b.commits()
	if b.holds(state.B, first, 2).Slots != slots {
		t.Error("what is the same was written again")
	}
	b.boot(machine.Disk, first)
	if err := b.opens(state.A); !errors.Is(err, vault.ErrRaised) {
		t.Errorf("after the counter was raised: %v", err)
	}
	if err := b.opens(state.B); err != nil {
		t.Error(err)
	}
}

// TestNotTheGoodSlot runs from a slot while another one is good: by a firmware that has chosen it.
func TestNotTheGoodSlot(t *testing.T) {
	b := newBench(t, "other")
	first, second := system(t, "first"), system(t, "second")
	b.keeps(first, second)
	slots := b.holds(state.B, second, 1).Slots
	b.stubSays("EFI/BOOT/BOOTX64.EFI")
	if e := b.boot(machine.Disk, first); e.From != machine.Disk || b.slot != state.A || e.Means != (machine.Means{Next: true, Kexec: true}) {
		t.Errorf("the boot is %+v, from slot %v", e, b.slot)
	}
	if err := b.opens(state.A); err != nil {
		t.Fatal(err)
	}
	b.has(1)
	if err := b.commit(t.Context()); err == nil || !strings.Contains(err.Error(), "what runs is slot a, and the good one is slot b; that stays so") {
		t.Errorf("the error is %v", err)
	}
	if r := b.holds(state.B, second, 1); r.Slots != slots {
		t.Error("a slot was written")
	}

	// kexec has started the good one, and the firmware knows nothing of that.
	b.config.LKG.Mode = cmdline.LKGDisk
	if e := b.boot(machine.Disk, second); e.From != machine.Disk || b.slot != state.None || e.Means != (machine.Means{}) || e.Failures != 1 {
		t.Errorf("the boot by kexec is %+v, from slot %v", e, b.slot)
	}
	b.config.LKG.Mode = cmdline.LKGOn

	b.stubSays("EFI/EMBERB/BOOT.EFI")
	if e := b.boot(machine.Disk, second); e.From != machine.Disk || b.slot != state.B || e.Means != (machine.Means{}) {
		t.Errorf("the boot of the good slot is %+v, from slot %v", e, b.slot)
	}

	// The good slot is damaged: what runs is as good as any.
	f, err := b.disk.Open("EFI/EMBERB/BOOT.EFI")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	b.stubSays("EFI/BOOT/BOOTX64.EFI")
	if e := b.boot(machine.Disk, first); b.slot != state.A || e.Means != (machine.Means{}) {
		t.Errorf("the boot without another slot is %+v, from slot %v", e, b.slot)
	}
}

// TestKexec has kexec start the good slot after a system whose PCRs stay, and which the boot server has.
func TestKexec(t *testing.T) {
	b := newBench(t, "kexec")
	first, second := system(t, "first"), system(t, "second")
	b.keeps(first)
	slots := b.holds(state.A, first, 1).Slots
	b.config.LKG.Mode = cmdline.LKGDisk
	b.served = second
	b.boot(machine.Disk, second)
	b.steps.sealed = b.sealed
	b.has(1)
	if err := b.commit(t.Context()); err == nil || !strings.Contains(err.Error(), "started by kexec") {
		t.Errorf("the error is %v", err)
	}
	if r := b.holds(state.A, first, 1); r.Slots != slots {
		t.Error("a slot was written")
	}

	b.boot(machine.Disk, first) // what was booted is the same system
	b.steps.sealed = b.sealed
	b.has(1)
	b.commits()
	b.holds(state.A, first, 1)
}

// stubSays has the EFI variables that systemd-stub sets where it was started from that file.
func (b *bench) stubSays(file string) {
	b.t.Helper()
	d, err := b.partition()
	if err != nil {
		b.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"StubDevicePartUUID":  d.partition.GUID.String(),
		"StubImageIdentifier": `\` + strings.ReplaceAll(file, "/", `\`),
	} {
		v := []byte{6, 0, 0, 0} // attributes
		for _, u := range utf16.Encode([]rune(value + "\x00")) {
			v = binary.LittleEndian.AppendUint16(v, u)
		}
		if err := os.WriteFile(filepath.Join(b.vars.Dir, name+"-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"), v, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestStateLost has both records of the state bad, or blank, on a machine that was booted from the slot that was good.
func TestStateLost(t *testing.T) {
	t.Run("bad", func(t *testing.T) {
		testStateLost(t, bytes.Repeat([]byte{0xff}, state.Size), "both records of the state of last-known-good are bad")
	})
	t.Run("blank", func(t *testing.T) {
		testStateLost(t, make([]byte, state.Size), "the state of last-known-good is lost")
	})
}

func testStateLost(t *testing.T, record []byte, says string) {
	b := newBench(t, "lost")
	first, second, third := system(t, "first"), system(t, "second"), system(t, "third")
	b.keeps(first, second)
	f, err := b.disk.Open(slot.StateFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, state.Stride} {
		if _, err := f.WriteAt(record, at); err != nil {
			t.Fatal(err)
		}
	}
	b.stubSays("EFI/EMBERB/BOOT.EFI")
	d, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	if from, err := b.vars.Current(); err != nil || d.booted(from) != state.B {
		t.Errorf("it runs from %+v: %v", from, err)
	}

	// The boot is counted, which writes a record, and what was good is good by that.
	if e := b.boot(machine.Disk, second); e.From != machine.Disk || e.Failures != 1 {
		t.Errorf("the boot is %+v", e)
	}
	if !strings.Contains(b.log.String(), says) {
		t.Error("it is not reported")
	}
	b.stubSays("uki.efi")
	if e := b.boot(machine.Network, third); !e.Means.Kexec {
		t.Errorf("the boot is %+v", e)
	}
	b.served = third
	b.steps.sealed = b.sealed
	b.has(1)
	b.commits()
	r := b.holds(state.A, third, 1)
	if r.Slots[1].System.SHA256 != sha256.Sum256(second) {
		t.Errorf("what was good is %+v", r.Slots[1])
	}
	b.boot(machine.Disk, second)
	if err := b.opens(state.B); err != nil {
		t.Errorf("what was good: %v", err)
	}
}

// keeps commits systems one after the other, all with the same configuration.
func (b *bench) keeps(images ...[]byte) {
	b.t.Helper()
	for _, image := range images {
		b.served = image
		b.boot(machine.Network, image)
		if b.sealed == nil {
			b.gets(1)
			b.sealed = b.steps.sealed
		}
		b.steps.sealed = b.sealed
		b.has(1)
		b.commits()
	}
}
