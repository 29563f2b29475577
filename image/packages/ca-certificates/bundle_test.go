// Package ca_certificates_test reads the bundle as programs in the image do.
package ca_certificates_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
)

// fewest is less than Mozilla ever had.
const fewest = 100

func TestBundle(t *testing.T) {
	path := vmtest.File(t, "BUNDLE")
	rest, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Errorf("certificate %d: %v", count, err)
		} else if !certificate.IsCA {
			t.Errorf("%s is no certificate authority", certificate.Subject)
		}
		count++
	}
	if count < fewest {
		t.Errorf("the bundle has %d certificates, want at least %d", count, fewest)
	}
}
