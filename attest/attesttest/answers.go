package attesttest

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// recording is where FuzzAnswers has what a TPM answered.
var recording = filepath.Join("testdata", "answers")

// Record keeps what a TPM answers to what do asks, for FuzzAnswers.
func Record(t testing.TB, p transport.TPM, do func(transport.TPM) error) {
	t.Helper()
	r := recorder{TPM: p}
	if err := do(&r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recording, r.text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// FuzzAnswers has do, which is to have no error with what was recorded, ask a TPM that answers nonsense, as a broken
// one may.
func FuzzAnswers(f *testing.F, do func(transport.TPM) error) {
	f.Helper()
	recorded, err := os.ReadFile(recording)
	if err != nil {
		f.Fatal(err)
	}
	if err := do(answers{bytes.NewReader(recorded)}); err != nil {
		f.Fatalf("the recording does not pass for the TPM: %v", err)
	}
	f.Add(recorded)
	f.Fuzz(func(t *testing.T, text []byte) {
		do(answers{bytes.NewReader(text)})
	})
}

type recorder struct {
	transport.TPM
	text []byte
}

func (r *recorder) Send(command []byte) ([]byte, error) {
	answer, err := r.TPM.Send(command)
	r.text = append(r.text, answer...)
	return answer, err
}

// answers is a TPM that gives what was recorded, whatever it is asked.
type answers struct{ left *bytes.Reader }

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
