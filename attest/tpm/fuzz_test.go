package tpm_test

import (
	"bytes"
	"crypto"
	"flag"
	"io"
	"testing"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
)

var update = flag.Bool("update", false, "record swtpm's answers in testdata/answers anew")

// everything is all that is ever asked of a TPM.
func everything(p transport.TPM) error {
	s, err := tpm.Start(p)
	if err != nil {
		return err
	}
	if _, err := s.Request(make([]byte, protocol.NonceSize), nil, nil, nil); err != nil {
		return err
	}
	if _, err := s.Activate(make([]byte, 68), make([]byte, 100)); err == nil {
		return io.ErrUnexpectedEOF // of zeros
	}
	if _, err := s.Signer().Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	return tpm.Cap(p)
}

// A TPM that answers nonsense, as a broken one may, makes errors and no panic.
func FuzzAnswers(f *testing.F) {
	if *update {
		attesttest.Record(f, attesttest.New(f, "one"), everything)
	}
	attesttest.FuzzAnswers(f, everything)
}

// Whatever is in the NV index of a certificate, the machine has a name, and what it sends is in the index.
func FuzzCertificate(f *testing.F) {
	f.Add([]byte{0x30, 2, 5, 0, 0xff})
	f.Add([]byte{0x10, 0x01, 0x00, 0, 4, 0x30, 2, 5, 0})
	f.Add([]byte{0x10, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if der := tpm.CutCertificate(b); der != nil && (!bytes.Contains(b, der) || der[0] != 0x30) {
			t.Errorf("%x", der)
		}
	})
}
