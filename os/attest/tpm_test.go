package attest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOpenTPM(t *testing.T) {
	dir := t.TempDir()
	device := filepath.Join(dir, "tpmrm0")
	if _, err := openTPM(device); !isNoTPM(err) {
		t.Errorf("without a TPM: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tpm0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openTPM(device); !isNoTPM(err) {
		t.Errorf("with a TPM 1.2: %v", err)
	}
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openTPM(device); err == nil || isNoTPM(err) {
		t.Errorf("with a TPM that says nothing: %v", err)
	}
	if err := capTPM(device); err == nil {
		t.Error("a TPM that says nothing is capped")
	}
}

func isNoTPM(err error) bool {
	_, ok := errors.AsType[noTPM](err)
	return ok
}
