package tpm_test

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
)

func lockoutCounter(t *testing.T, p transport.TPM) uint32 {
	t.Helper()
	got, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(tpm2.TPMPTLockoutCounter), PropertyCount: 1}.Execute(p)
	if err != nil {
		t.Fatal(err)
	}
	properties, err := got.CapabilityData.Data.TPMProperties()
	if err != nil || len(properties.TPMProperty) != 1 {
		t.Fatal(properties, err)
	}
	return properties.TPMProperty[0].Value
}

// again sends a command once more if the TPM asks for it.
type again struct{ transport.TPM }

func (a again) Send(command []byte) ([]byte, error) {
	response, err := a.TPM.Send(command)
	if err == nil && tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])) == tpm2.TPMRCRetry {
		return a.TPM.Send(command)
	}
	return response, err
}

// without is a TPM that cannot be reached.
type without struct{ err error }

func (w without) Send([]byte) ([]byte, error) { return nil, w.err }

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

func test12(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tpm0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.Open(filepath.Join(dir, "tpmrm0")); err != tpm.ErrVersion12 {
		t.Errorf("%v", err)
	}
	p := attesttest.New12(t)
	if _, err := tpm.Start(p); !errors.Is(err, tpm.ErrVersion12) {
		t.Errorf("%v", err)
	}
}

// owners makes a key of the owner's with a password, subject to the lockout.
func owners(t *testing.T, p transport.TPM, password string) *tpm2.CreatePrimaryResponse {
	t.Helper()
	template := tpm2.ECCSRKTemplate
	template.ObjectAttributes.NoDA = false
	k, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		InSensitive:   tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: []byte(password)}}},
		InPublic:      tpm2.New2B(template),
	}.Execute(p)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func persist(t *testing.T, p *attesttest.TPM, h tpm2.TPMHandle) {
	t.Helper()
	k := owners(t, p, "")
	_, err := tpm2.EvictControl{
		Auth:         tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		ObjectHandle: tpm2.NamedHandle{Handle: k.ObjectHandle, Name: k.Name}, PersistentHandle: h,
	}.Execute(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (tpm2.FlushContext{FlushHandle: k.ObjectHandle}).Execute(p); err != nil {
		t.Fatal(err)
	}
}

// use makes a key under another, with a password.
func use(p transport.TPM, parent *tpm2.CreatePrimaryResponse, password string) error {
	_, err := tpm2.Create{
		ParentHandle: tpm2.AuthHandle{Handle: parent.ObjectHandle, Name: parent.Name, Auth: tpm2.PasswordAuth([]byte(password))},
		InPublic:     tpm2.New2B(tpm2.ECCSRKTemplate),
	}.Execute(p)
	return err
}

func testLockout(t *testing.T) {
	p := attesttest.New(t, "one")
	k := owners(t, p, "right")
	var err error
	for range 50 {
		if err = use(p, k, "wrong"); errors.Is(err, tpm2.TPMRCLockout) {
			break
		}
	}
	if !errors.Is(err, tpm2.TPMRCLockout) {
		t.Fatalf("no lockout: %v", err)
	}
	if err := use(p, k, "right"); !errors.Is(err, tpm2.TPMRCLockout) {
		t.Fatalf("no lockout: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if r := flow(t, start(t, p)); len(r.EKCertificates) != 1 {
		t.Error("the certificate cannot be read")
	}
	if err := tpm.Cap(p); err != nil {
		t.Error(err)
	}
}

func testRetry(t *testing.T) {
	p := attesttest.New(t, "one")
	synctest.Test(t, func(t *testing.T) {
		busy := []tpm2.TPMRC{tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCNVRate, 0}
		next := 0
		s, err := tpm.Start(answering{p, func([]byte) tpm2.TPMRC {
			next++
			return busy[next%len(busy)]
		}})
		if err != nil {
			t.Fatal(err)
		}
		flow(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		began := time.Now()
		if _, err := tpm.Start(answering{p, func([]byte) tpm2.TPMRC { return tpm2.TPMRCRetry }}); !errors.Is(err, tpm.ErrBusy) {
			t.Errorf("%v", err)
		}
		if waited := time.Since(began); waited < tpm.Patience || waited > tpm.Patience+5*time.Second {
			t.Errorf("it waits for %v", waited)
		}
	})
}

// slow is a TPM that takes its time.
type slow struct {
	transport.TPM
	commands *int
}

func (s slow) Send(command []byte) ([]byte, error) {
	time.Sleep(5 * time.Second)
	*s.commands++
	return s.TPM.Send(command)
}

func testSlow(t *testing.T) {
	p := attesttest.New(t, "one")
	synctest.Test(t, func(t *testing.T) {
		commands := 0
		s, err := tpm.Start(slow{p, &commands})
		if err != nil {
			t.Fatal(err)
		}
		flow(t, s)
		if commands > 24 {
			t.Errorf("it takes %d commands", commands)
		}
		t.Logf("%d commands", commands)
	})
}

func testKilled(t *testing.T) {
	p := attesttest.New(t, "one")
	node := start(t, p).Node()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func() error{
		"power": func() error { // is gone, in mid-command
			p.PowerOff()
			return p.PowerOn()
		},
		"process": func() error { // is gone; the kernel waits for the answer and tidies up
			_, err := p.Read()
			return errors.Join(err, p.Close())
		},
	} {
		for n := 0; ; n++ {
			cut := &attesttest.Cut{TPM: p, Left: n, End: end}
			err := attempt(t, cut)
			if err == nil {
				t.Logf("%s: %d commands", name, n)
				break
			}
			if !errors.Is(err, attesttest.ErrCut) {
				t.Fatal(err)
			}
			s := start(t, p)
			flow(t, s)
			if s.Node() != node {
				t.Fatal("the machine has another name")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// attempt is flow, with a session of its own, on a TPM that may fail at any time.
func attempt(t *testing.T, p transport.TPM) error {
	t.Helper()
	s, err := tpm.Start(p)
	if err != nil {
		return err
	}
	r, err := s.Request(make([]byte, protocol.NonceSize), nil, nil, nil)
	if err != nil {
		return err
	}
	if _, err := s.Activate(credential(t, r, bytes.Repeat([]byte{7}, protocol.SecretSize))); err != nil {
		return err
	}
	if _, err := s.Signer().Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
		return err
	}
	return s.Close()
}
