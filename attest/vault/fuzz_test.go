package vault_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/vault"
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
	values, err := tpm.ReadPCRs(p, 7, 9, 11)
	if err != nil {
		return err
	}
	if _, err := tpm.Resets(p); err != nil {
		return err
	}
	n, err := vault.Count(p)
	if err != nil {
		return err
	}
	blob, err := vault.Seal(p, secret, vault.Policy{Boots: []tpm.PCRs{values, values}, Until: n})
	if err != nil {
		return err
	}
	vault.Unseal(p, blob) // fails at the end where answers are played back: they are signed with the session's nonces
	_, err = vault.Raise(p)
	return err
}

// A TPM that answers nonsense, as a broken one may, makes errors and no panic.
func FuzzAnswers(f *testing.F) {
	path := filepath.Join("testdata", "answers")
	if *update {
		var text []byte
		if err := everything(recorder{booted(f, "one"), &text}); err != nil {
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
