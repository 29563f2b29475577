// Package roster reads lists of machines that an operator enrolls, as makers and inventories have them.
package roster

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// Parse reads a list: lines with a machine's name and perhaps a note behind it, comments
// behind "#", and keys and certificates of EKs in PEM, in any order.
func Parse(b []byte) (map[string]bool, error) {
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
