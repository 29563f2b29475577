package vault_test

import (
	"testing"

	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/vault"
)

// BenchmarkVault is how long a TPM takes, which is swtpm here.
func BenchmarkVault(b *testing.B) {
	p := booted(b, "one")
	values, err := tpm.ReadPCRs(p, 4, 7, 9, 11)
	if err != nil {
		b.Fatal(err)
	}
	under := vault.Policy{Until: 1 << 40}
	for range vault.MaxBoots {
		under.Boots = append(under.Boots, values)
	}
	blob, err := vault.Seal(p, secret, under)
	if err != nil {
		b.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"seal":   func() error { _, err := vault.Seal(p, secret, under); return err },
		"unseal": func() error { _, err := vault.Unseal(p, blob); return err },
		"raise":  func() error { _, err := vault.Raise(p); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
