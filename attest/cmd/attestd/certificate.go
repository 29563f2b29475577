package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/os/cmdline"
)

// The files that certificate makes.
const (
	certificateFile = "tls.pem"
	keyFile         = "tls-key.pem"
)

// certificateLife is long: machines that pin the key do not look at it.
const certificateLife = 10 // years

// makeCertificate makes a key, and a certificate that it signs itself, for the names and addresses of a server,
// and says how machines are told to trust it. It replaces nothing.
func makeCertificate(stdout io.Writer, dir string, names []string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the server's key: %w", err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "attestd"},
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.AddDate(certificateLife, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("making the server's certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("making the server's certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("writing the server's key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder for the server's key: %w", err)
	}
	for _, file := range []struct {
		name, kind string
		bytes      []byte
		mode       os.FileMode
	}{
		{keyFile, "PRIVATE KEY", private, 0o600},
		{certificateFile, "CERTIFICATE", der, 0o644},
	} {
		if err := writeNew(filepath.Join(dir, file.name), pem.EncodeToMemory(&pem.Block{Type: file.kind, Bytes: file.bytes}), file.mode); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(stdout, `%s and %s are for "tls" in the configuration. Machines trust the key if their
image has it as a pin, or the kernel command line:
  %s=%s
`, filepath.Join(dir, certificateFile), filepath.Join(dir, keyFile), cmdline.AttestPinParam, client.PinOf(certificate))
	return err
}

// writeNew writes a file that is not there yet.
func writeNew(path string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already, and keys are not replaced: choose another folder with --out", path)
	} else if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
