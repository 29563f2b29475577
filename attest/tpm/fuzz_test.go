package tpm_test

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
)

var update = flag.Bool("update", false, "record swtpm's answers in testdata/answers anew")

// answers is a TPM that gives what was recorded, whatever it is asked.
type answers struct{ left *bytes.Reader }

const headerSize = 10

func (a answers) Send([]byte) ([]byte, error) {
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(a.left, header); err != nil {
		return nil, err
	}
	if rc := tpm2.TPMRC(binary.BigEndian.Uint32(header[6:])); rc.IsWarning() {
		return nil, io.EOF // nobody waits for it
	}
	body := make([]byte, min(max(binary.BigEndian.Uint32(header[2:]), headerSize), 4096)-headerSize)
	n, _ := a.left.Read(body)
	return append(header, body[:n]...), nil
}

type recorder struct {
	transport.TPM
	text *[]byte
}

func (r recorder) Send(command []byte) ([]byte, error) {
	answer, err := r.TPM.Send(command)
	*r.text = append(*r.text, answer...)
	return answer, err
}

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
	path := filepath.Join("testdata", "answers")
	if *update {
		p := attesttest.New(f, "one")
		var text []byte
		if err := everything(recorder{p, &text}); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			f.Fatal(err)
		}
	}
	recorded, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	if err := everything(answers{bytes.NewReader(recorded)}); err != nil {
		f.Fatalf("the recording does not pass for the TPM: %v", err)
	}
	f.Add(recorded)
	f.Fuzz(func(t *testing.T, text []byte) {
		everything(answers{bytes.NewReader(text)})
	})
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
