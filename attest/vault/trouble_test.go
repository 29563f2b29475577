package vault_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/vault"
)

func TestOwner(t *testing.T) {
	p := booted(t, "one")
	blob := seal(t, p, policy(t, p))
	under := policy(t, p)
	auth := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	if _, err := (tpm2.HierarchyChangeAuth{AuthHandle: auth, NewAuth: tpm2.TPM2BAuth{Buffer: []byte("the owner's")}}).Execute(p); err != nil {
		t.Fatal(err)
	}
	refused(t, p, blob, vault.ErrOwner)
	if _, err := vault.Seal(p, secret, under); !errors.Is(err, vault.ErrOwner) {
		t.Errorf("sealed: %v", err)
	}
	if n := count(t, p); n != under.Until { // the owner is not needed for it
		t.Errorf("the counter is %d", n)
	}
	if _, err := vault.Raise(p); err != nil {
		t.Error(err)
	}
	if err := p.DeleteNV(vault.Index); err != nil {
		t.Fatal(err)
	}
	if _, err := vault.Count(p); !errors.Is(err, vault.ErrOwner) {
		t.Errorf("counted: %v", err)
	}
}

func TestFull(t *testing.T) {
	p := booted(t, "one")
	size := 2048
	for index := tpm2.TPMHandle(0x01800000); size > 0; index++ {
		err := p.WriteNV(index, make([]byte, size))
		if errors.Is(err, tpm2.TPMRCNVSpace) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for index := tpm2.TPMHandle(0x01900000); ; index++ { // a TPM keeps room for counters
		area := tpm2.TPMSNVPublic{
			NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: 8,
			Attributes: tpm2.TPMANV{NT: tpm2.TPMNTCounter, OwnerWrite: true, OwnerRead: true},
		}
		_, err := tpm2.NVDefineSpace{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}, PublicInfo: tpm2.New2B(area),
		}.Execute(p)
		if errors.Is(err, tpm2.TPMRCNVSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := vault.Count(p); !errors.Is(err, vault.ErrFull) {
		t.Errorf("counted: %v", err)
	}
	if _, err := vault.Seal(p, secret, vault.Policy{Boots: []tpm.PCRs{read(t, p, 7)}}); !errors.Is(err, vault.ErrFull) {
		t.Errorf("sealed: %v", err)
	}
}

func TestOccupied(t *testing.T) {
	p := booted(t, "one")
	if err := p.WriteNV(vault.Index, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	for _, do := range []func() error{
		func() error { _, err := vault.Count(p); return err },
		func() error { _, err := vault.Raise(p); return err },
		func() error {
			_, err := vault.Seal(p, secret, vault.Policy{Boots: []tpm.PCRs{read(t, p, 7)}})
			return err
		},
	} {
		if err := do(); !errors.Is(err, vault.ErrOccupied) {
			t.Errorf("%v", err)
		}
	}
}

func TestLockout(t *testing.T) {
	p := booted(t, "one")
	blob := seal(t, p, policy(t, p))
	lockOut(t, p)
	opens(t, p, blob)
	if _, err := vault.Raise(p); err != nil {
		t.Error(err)
	}
	opens(t, p, seal(t, p, policy(t, p)))
	reboot(t, p) // resets while it is in use do not bring one about either: see attest/tpm
	refused(t, p, blob, vault.ErrRaised)
	locked := answering{p, func([]byte) tpm2.TPMRC { return tpm2.TPMRCLockout }}
	refused(t, locked, blob, vault.ErrLockout)
	if _, err := vault.Count(locked); !errors.Is(err, vault.ErrLockout) {
		t.Errorf("counted: %v", err)
	}
}

func lockOut(t *testing.T, p *attesttest.TPM) {
	t.Helper()
	template := tpm2.ECCSRKTemplate
	template.ObjectAttributes.NoDA = false
	k, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		InSensitive:   tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: []byte("right")}}},
		InPublic:      tpm2.New2B(template),
	}.Execute(p)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		_, err = tpm2.Create{
			ParentHandle: tpm2.AuthHandle{Handle: k.ObjectHandle, Name: k.Name, Auth: tpm2.PasswordAuth([]byte("wrong"))},
			InPublic:     tpm2.New2B(tpm2.ECCSRKTemplate),
		}.Execute(p)
		if errors.Is(err, tpm2.TPMRCLockout) {
			break
		}
	}
	if !errors.Is(err, tpm2.TPMRCLockout) {
		t.Fatalf("no lockout: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// answering gives an answer of its own unless that is success.
type answering struct {
	transport.TPM
	rc func(command []byte) tpm2.TPMRC
}

func (a answering) Send(command []byte) ([]byte, error) {
	if rc := a.rc(command); rc != 0 {
		return binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 10}, uint32(rc)), nil
	}
	return a.TPM.Send(command)
}

func TestRetry(t *testing.T) {
	p := booted(t, "one")
	synctest.Test(t, func(t *testing.T) {
		busy := []tpm2.TPMRC{tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCNVRate, 0}
		next := 0
		slow := answering{p, func([]byte) tpm2.TPMRC {
			next++
			return busy[next%len(busy)]
		}}
		blob := seal(t, slow, policy(t, slow))
		opens(t, slow, blob)
		if _, err := vault.Raise(slow); err != nil {
			t.Error(err)
		}
		began := time.Now()
		never := answering{p, func([]byte) tpm2.TPMRC { return tpm2.TPMRCRetry }}
		refused(t, never, blob, tpm.ErrBusy)
		if waited := time.Since(began); waited < tpm.Patience {
			t.Errorf("it waits for %v", waited)
		}
	})
}

// TestChanging has somebody extend another PCR between the commands of an unsealing.
func TestChanging(t *testing.T) {
	p := booted(t, "one")
	blob := seal(t, p, policy(t, p))
	for times, why := range map[int]error{1: nil, 1000: tpm2.TPMRCPCRChanged} {
		left := times
		changing := answering{p, func(command []byte) tpm2.TPMRC {
			if left > 0 && binary.BigEndian.Uint32(command[6:]) == uint32(tpm2.TPMCCUnseal) {
				left--
				if err := p.Extend(14, secret); err != nil {
					t.Error(err)
				}
			}
			return 0
		}}
		if why == nil {
			opens(t, changing, blob)
		} else {
			refused(t, changing, blob, why)
		}
	}
	opens(t, p, blob)
}

func TestKilled(t *testing.T) {
	for name, end := range map[string]func(p *attesttest.TPM) error{
		"power": func(p *attesttest.TPM) error { // is gone, in mid-command
			p.PowerOff()
			return p.PowerOn()
		},
		"process": func(p *attesttest.TPM) error { // is gone; the kernel waits for the answer and tidies up
			_, err := p.Read()
			return errors.Join(err, p.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := attesttest.New(t, "one")
			kept := seal(t, p, vault.Policy{Boots: []tpm.PCRs{read(t, p, 7)}, Until: 1 << 40})
			for n := 0; ; n++ {
				if err := p.DeleteNV(vault.Index); err != nil {
					t.Fatal(err)
				}
				cut := &attesttest.Cut{TPM: p, Left: n, End: func() error { return end(p) }}
				blob, err := vault.Seal(cut, secret, vault.Policy{Boots: []tpm.PCRs{read(t, p, 7)}, Until: 1 << 40})
				if err == nil {
					_, err = vault.Unseal(cut, blob)
				}
				if err == nil {
					_, err = vault.Raise(cut)
				}
				if err == nil {
					t.Logf("%d commands", n)
					break
				}
				if !errors.Is(err, attesttest.ErrCut) {
					t.Fatal(err)
				}
				before := count(t, p)
				if after, err := vault.Raise(p); err != nil || after != before+1 {
					t.Fatalf("after %d commands: %d, %v", n, after, err)
				}
				opens(t, p, kept)
			}
		})
	}
}

func TestGone(t *testing.T) {
	p := booted(t, "one")
	blob := seal(t, p, policy(t, p))
	gone := errors.New("gone")
	refused(t, without{gone}, blob, gone)
	if _, err := vault.Count(without{gone}); !errors.Is(err, gone) {
		t.Errorf("counted: %v", err)
	}
	if err := p.Banks(tpm2.TPMAlgSHA1); err != nil {
		t.Fatal(err)
	}
	refused(t, p, blob, tpm.ErrNoSHA256)
}

// without is a TPM that cannot be reached.
type without struct{ err error }

func (w without) Send([]byte) ([]byte, error) { return nil, w.err }
