package swtpm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// CA is a certificate authority for tests, the stand-in for a TPM vendor's. It
// signs the EK certificates of the TPMs made with it, is its own root, and
// must be trusted by nothing but a test.
type CA struct {
	dir string
}

// Cert returns the path of the CA's certificate, in PEM.
func (ca CA) Cert() string { return filepath.Join(ca.dir, "cert.pem") }

func (ca CA) key() string { return filepath.Join(ca.dir, "key.pem") }

// OpenCA returns the CA kept in dir; it makes directory and CA if there is none.
func OpenCA(dir string) (CA, error) {
	ca := CA{dir}
	if _, err := os.Stat(ca.Cert()); err == nil {
		return ca, nil
	}
	if err := ca.make(); err != nil {
		return CA{}, fmt.Errorf("making the test CA: %w", err)
	}
	return ca, nil
}

func (ca CA) make() error {
	if err := os.MkdirAll(ca.dir, 0o755); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Ember test TPM CA"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(20, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(ca.key(), "PRIVATE KEY", der, 0o600); err != nil {
		return err
	}
	return writePEM(ca.Cert(), "CERTIFICATE", cert, 0o644)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
