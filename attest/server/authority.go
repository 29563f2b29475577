package server

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"time"

	"github.com/google/renameio/v2"

	"github.com/ember-os/ember/attest/protocol"
)

const (
	// certificateLife is how long a machine's certificate is good for.
	certificateLife = 15 * time.Minute
	// certificateSkew is how much earlier it begins: not every clock that reads it is right.
	certificateSkew = 5 * time.Minute
	authorityYears  = 20
)

// Authority signs the certificates of attested machines.
type Authority struct {
	chain []*x509.Certificate // its own certificate, and those above it
	key   crypto.Signer
}

// OpenAuthority reads the authority from a file with its certificates and one with its key, in PEM, or makes
// both if neither is there. A file is never there in part.
func OpenAuthority(certificate, key string, now time.Time) (*Authority, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeAuthority(certificate, key, now); err != nil {
			return nil, fmt.Errorf("making the authority for machines: %w", err)
		}
		pair, err = tls.LoadX509KeyPair(certificate, key)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the authority for machines: %w", err)
	}
	a := new(Authority)
	for _, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading the authority for machines: %w", err)
		}
		a.chain = append(a.chain, c)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !a.chain[0].IsCA {
		return nil, fmt.Errorf("reading the authority for machines: %s is not the certificate of an authority", certificate)
	}
	a.key = signer
	return a, nil
}

// makeAuthority writes the key first, so that one whose making was cut short can be finished.
func makeAuthority(certificate, keyFile string, now time.Time) error {
	if _, err := os.Stat(certificate); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s is there, but not its key %s: put it back, or remove the certificate", certificate, keyFile), err)
	}
	key, err := authorityKey(keyFile)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Ember machines"},
		NotBefore:             now.Add(-certificateSkew),
		NotAfter:              now.AddDate(authorityYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	return renameio.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// authorityKey reads the key, or makes it.
func authorityKey(file string) (crypto.Signer, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, renameio.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	} else if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s has no key in PEM", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("reading %s: the key cannot sign", file)
	}
	return signer, nil
}

// Pool is what certificates of machines are verified with.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.chain[0])
	return p
}

// Issue makes a certificate for a machine's key. The subject's common name is the node, its organizational
// unit the tier. It returns the certificates as a grant has them, and the serial number in hex.
func (a *Authority) Issue(node string, tier protocol.Tier, key crypto.PublicKey, now time.Time) (chain [][]byte, number string, err error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, "", fmt.Errorf("issuing a certificate: %w", err)
	}
	id := sha256.Sum256(spki)
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: node, OrganizationalUnit: []string{string(tier)}},
		NotBefore:    now.Add(-certificateSkew),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		SubjectKeyId: id[:20],
		// A leaf, and said so: it signs nothing.
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.chain[0], key, a.key)
	if err != nil {
		return nil, "", fmt.Errorf("issuing a certificate: %w", err)
	}
	chain = [][]byte{der}
	for _, c := range a.chain {
		chain = append(chain, c.Raw)
	}
	return chain, hex.EncodeToString(template.SerialNumber.Bytes()), nil
}

// serial is a random number of 127 bits, never 0 (RFC 5280, 4.1.2.2).
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}
