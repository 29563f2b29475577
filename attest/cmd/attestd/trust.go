package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// vendors are the certificates in a folder and the folders in it, in PEM or DER, any number in a file. Those
// that are signed by themselves are roots, the others help to get there. A file that cannot be read is left
// out and told of: one odd certificate of hundreds does not keep a server from starting.
func vendors(folder string) (roots, intermediates *x509.CertPool, odd []error, err error) {
	roots, intermediates = x509.NewCertPool(), x509.NewCertPool()
	if folder == "" {
		return roots, intermediates, nil, nil
	}
	paths, err := regularFiles(folder)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading certificates of TPM vendors: %w", err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("reading certificates of TPM vendors: %w", err)
		}
		certificates, err := parseCertificates(b)
		if err != nil {
			odd = append(odd, fmt.Errorf("%s: %w", path, err))
		}
		for _, c := range certificates {
			if bytes.Equal(c.RawSubject, c.RawIssuer) {
				roots.AddCert(c)
			} else {
				intermediates.AddCert(c)
			}
		}
	}
	return roots, intermediates, odd, nil
}

// parseCertificates returns those it can read, and the error of the others.
func parseCertificates(b []byte) ([]*x509.Certificate, error) {
	if !bytes.Contains(b, []byte("-----BEGIN ")) {
		c, err := x509.ParseCertificate(b)
		if err != nil {
			return nil, err
		}
		return []*x509.Certificate{c}, nil
	}
	var list []*x509.Certificate
	var problems []error
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" {
			problems = append(problems, fmt.Errorf("%s is not a certificate", block.Type))
		} else if err != nil {
			problems = append(problems, err)
		} else {
			list = append(list, c)
		}
	}
	if len(list) == 0 && len(problems) == 0 {
		problems = append(problems, errors.New("its PEM is damaged"))
	}
	return list, errors.Join(problems...)
}

// regularFiles are those in a folder and in the folders in it, but for names that begin with a dot.
func regularFiles(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		switch {
		case info.Mode().IsRegular():
			paths = append(paths, path)
		case info.IsDir():
			inner, err := filepath.Glob(filepath.Join(path, "[^.]*"))
			if err != nil {
				return nil, err
			}
			for _, p := range inner {
				if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
					paths = append(paths, p)
				}
			}
		}
	}
	return paths, nil
}
