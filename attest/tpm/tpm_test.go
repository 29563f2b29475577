package tpm_test

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
)

// The cases of a TPM that is not as one would wish. All are swtpm, but for what no swtpm does: answers of a busy
// one and of a broken one are put between.
func TestTPM(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		if _, err := tpm.Open(filepath.Join(t.TempDir(), "tpmrm0")); err != tpm.ErrNone {
			t.Errorf("%v", err)
		}
	})
	t.Run("1.2", test12)
	t.Run("lockout", testLockout)
	t.Run("RC_RETRY", testRetry)
	t.Run("slow (5 s an operation)", testSlow)
	t.Run("failure mode", func(t *testing.T) {
		p := attesttest.New(t, "one")
		broken := answering{p, func([]byte) tpm2.TPMRC { return tpm2.TPMRCFailure }}
		if _, err := tpm.Start(broken); !errors.Is(err, tpm.ErrFailure) {
			t.Errorf("%v", err)
		}
		if err := tpm.Cap(broken); !errors.Is(err, tpm.ErrFailure) {
			t.Errorf("%v", err)
		}
		s := start(t, p)
		fails := answering{p, func(command []byte) tpm2.TPMRC {
			if binary.BigEndian.Uint32(command[6:]) == uint32(tpm2.TPMCCQuote) {
				return tpm2.TPMRCFailure
			}
			return 0
		}}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := tpm.Start(fails)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Request(make([]byte, protocol.NonceSize), nil, nil, nil); !errors.Is(err, tpm.ErrFailure) {
			t.Errorf("%v", err)
		}
	})
	t.Run("owner auth set", func(t *testing.T) {
		p := attesttest.New(t, "one")
		_, err := tpm2.HierarchyChangeAuth{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			NewAuth:    tpm2.TPM2BAuth{Buffer: []byte("the owner's")},
		}.Execute(p)
		if err != nil {
			t.Fatal(err)
		}
		if r := flow(t, start(t, p)); len(r.EKCertificates) != 1 {
			t.Error("the certificate cannot be read")
		}
	})
	t.Run("endorsement auth set", func(t *testing.T) {
		p := attesttest.New(t, "one")
		_, err := tpm2.HierarchyChangeAuth{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
			NewAuth:    tpm2.TPM2BAuth{Buffer: []byte("somebody's")},
		}.Execute(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := attempt(t, p); !errors.Is(err, tpm.ErrPassword) {
			t.Errorf("%v", err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if err := p.Evict(0x81010016); err != nil { // the EK has to be made
			t.Fatal(err)
		}
		if err := p.Evict(0x81010001); err != nil {
			t.Fatal(err)
		}
		if err := attempt(t, p); !errors.Is(err, tpm.ErrPassword) {
			t.Errorf("%v", err)
		}
	})
	t.Run("NV full", func(t *testing.T) {
		p := attesttest.New(t, "one")
		size := 2048
		for index := tpm2.TPMHandle(0x01800000); size > 0; index++ {
			err := p.WriteNV(index, make([]byte, size))
			if errors.Is(err, tpm2.TPMRCNVSpace) {
				size /= 2
			} else if err != nil {
				t.Fatal(err)
			}
		}
		flow(t, start(t, p))
	})
	t.Run("handle occupied", func(t *testing.T) {
		p := attesttest.New(t, "one")
		s := start(t, p)
		node := s.Node()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, h := range []tpm2.TPMHandle{0x81010001, 0x81010016} {
			if err := p.Evict(h); err != nil {
				t.Fatal(err)
			}
		}
		s = start(t, p) // nothing is there, and all slots are needed
		flow(t, s)
		if s.Node() != node {
			t.Error("the machine has another name")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, h := range []tpm2.TPMHandle{0x81010000, 0x81010001, 0x81010016, 0x81000001} {
			persist(t, p, h)
		}
		s = start(t, p)
		flow(t, s)
		if s.Node() != node {
			t.Error("the machine has another name")
		}
	})
	t.Run("cleared between boots", func(t *testing.T) {
		p := attesttest.New(t, "one")
		s := start(t, p)
		node := s.Node()
		flow(t, s)
		_, err := tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHLockout, Auth: tpm2.PasswordAuth(nil)}}.Execute(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Reboot(); err != nil {
			t.Fatal(err)
		}
		s = start(t, p)
		flow(t, s)
		if s.Node() != node {
			t.Error("the machine has another name")
		}
	})
	t.Run("killed in mid-command", testKilled)
	t.Run("40 unclean resets", func(t *testing.T) {
		p := attesttest.New(t, "one")
		for range 40 {
			flow(t, start(t, p))
			if err := p.Reset(); err != nil {
				t.Fatal(err)
			}
		}
		flow(t, start(t, p))
		if n := lockoutCounter(t, p); n != 0 {
			t.Errorf("the lockout counter is %d", n)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		// It counts those that happen while another kind of key is in use.
		if err := use(again{p}, owners(t, p, "right"), "right"); err != nil {
			t.Fatal(err)
		}
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		if n := lockoutCounter(t, p); n != 1 {
			t.Errorf("the lockout counter is %d", n)
		}
	})
	t.Run("no SHA-256 PCRs", func(t *testing.T) {
		p := attesttest.New(t, "one")
		if err := p.Banks(tpm2.TPMAlgSHA1); err != nil {
			t.Fatal(err)
		}
		if _, err := start(t, p).Request(make([]byte, protocol.NonceSize), nil, nil, nil); !errors.Is(err, tpm.ErrNoSHA256) {
			t.Errorf("%v", err)
		}
	})
	t.Run("gone", func(t *testing.T) {
		p := attesttest.New(t, "one")
		s := start(t, p)
		gone := errors.New("gone")
		if _, err := tpm.Start(without{gone}); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
		p.PowerOff()
		if err := p.PowerOn(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Request(make([]byte, protocol.NonceSize), nil, nil, nil); err == nil {
			t.Error("a quote with keys of another boot")
		}
	})
}
