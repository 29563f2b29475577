package vault_test

import (
	"flag"
	"testing"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/vault"
)

var update = flag.Bool("update", false, "record swtpm's answers in testdata/answers anew")

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
	if *update {
		attesttest.Record(f, booted(f, "one"), everything)
	}
	attesttest.FuzzAnswers(f, everything)
}
