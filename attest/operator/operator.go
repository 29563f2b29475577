// Package operator is who may operate an attestation server over the network: a name and a key, shown in mutual
// TLS 1.3. The server has a folder with a file NAME.pem for each operator, as sshd has authorized keys: the key
// in it counts, and of a certificate nothing else, neither its names nor its dates. So there is no authority to
// keep, and an operator is revoked by removing the file.
package operator

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Extension is that of a file with an operator's certificate or public key.
const Extension = ".pem"

// maxName is the longest name, in bytes.
const maxName = 64

// CheckName is the error of what is no operator's name: one that can be a file's, and that cannot be taken for
// something else in an audit log.
func CheckName(name string) error {
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && strings.IndexByte("-._@", c) >= 0:
		default:
			return fmt.Errorf(`%q is not an operator's name: letters, digits, "-", ".", "_" and "@", first a letter or digit`, name)
		}
	}
	if name == "" || len(name) > maxName {
		return fmt.Errorf("an operator's name has 1 to %d characters", maxName)
	}
	return nil
}

// Set are operators, by their keys.
type Set map[[sha256.Size]byte]string

// Name is the operator whose key a certificate has, and "" if there is none.
func (s Set) Name(c *x509.Certificate) string { return s[sha256.Sum256(c.RawSubjectPublicKeyInfo)] }

// Read reads a folder of operators. Names that begin with a dot are not looked at. Odd are files that were left
// out in part or whole, so that one of them keeps nobody else out.
func Read(folder string) (set Set, odd []error, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, fmt.Errorf("reading operators: %w", err)
	}
	set = make(Set)
	for _, e := range entries {
		name, isPEM := strings.CutSuffix(e.Name(), Extension)
		if strings.HasPrefix(name, ".") {
			continue
		}
		path := filepath.Join(folder, e.Name())
		if !isPEM {
			odd = append(odd, fmt.Errorf("%s: an operator's file is called NAME%s", path, Extension))
			continue
		}
		if err := set.read(path, name); err != nil {
			odd = append(odd, fmt.Errorf("%s: %w", path, err))
		}
	}
	return set, odd, nil
}

func (s Set) read(path, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	keys, problem := parseKeys(b)
	for _, key := range keys {
		if other := s[key]; other != "" && other != name {
			problem = errors.Join(problem, fmt.Errorf("%s has this key already, and the audit log must tell them apart", other))
			continue
		}
		s[key] = name
	}
	return problem
}

// parseKeys gives the SHA-256 of the keys in a PEM file: of those that could be read, with an error of the others.
func parseKeys(b []byte) (keys [][sha256.Size]byte, err error) {
	var problems []error
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				problems = append(problems, err)
				continue
			}
			keys = append(keys, sha256.Sum256(c.RawSubjectPublicKeyInfo))
		case "PUBLIC KEY":
			if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
				problems = append(problems, err)
				continue
			}
			keys = append(keys, sha256.Sum256(block.Bytes))
		default:
			problems = append(problems, fmt.Errorf("%s is neither CERTIFICATE nor PUBLIC KEY, and a private key belongs to the operator alone", block.Type))
		}
	}
	if len(keys) == 0 && len(problems) == 0 {
		problems = append(problems, errors.New("it has no certificate or public key in PEM"))
	}
	return keys, errors.Join(problems...)
}
