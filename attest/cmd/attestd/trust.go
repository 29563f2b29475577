package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
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

// parseMachines reads a list of machines: lines with a machine's name and perhaps a note behind it, comments
// behind "#", and keys and certificates of EKs in PEM, in any order.
func parseMachines(b []byte) (map[string]bool, error) {
	machines := make(map[string]bool)
	var block []string // of the PEM that has begun
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if len(block) > 0 || strings.HasPrefix(line, "-----BEGIN ") {
			block = append(block, line)
			if strings.HasPrefix(line, "-----END ") {
				node, err := nodeOfPEM([]byte(strings.Join(block, "\n") + "\n"))
				if err != nil {
					return nil, fmt.Errorf("line %d: %w", i+1, err)
				}
				machines[node], block = true, nil
			}
			continue
		}
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if err := store.CheckNode(fields[0]); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		machines[fields[0]] = true
	}
	if len(block) > 0 {
		return nil, errors.New("the last PEM block has no end")
	}
	return machines, nil
}

func nodeOfPEM(b []byte) (string, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return "", errors.New("the PEM that ends here is damaged")
	}
	var key crypto.PublicKey
	switch block.Type {
	case "PUBLIC KEY":
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return "", err
		}
		key = k
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", err
		}
		key = c.PublicKey
	default:
		return "", fmt.Errorf("%s is neither PUBLIC KEY nor CERTIFICATE", block.Type)
	}
	return protocol.NodeID(key)
}
