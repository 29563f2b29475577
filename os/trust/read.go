package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// collection is certificates, each once, in the order in which they were added.
type collection struct {
	pem   bytes.Buffer
	count int
	have  map[string]bool // by their DER form
}

// addBase adds the image's bundle as it is. Its certificates were checked when the
// image was built.
func (c *collection) addBase(text []byte) error {
	certificates, err := blocks(text)
	if err != nil {
		return err
	}
	for _, der := range certificates {
		c.note(der)
	}
	c.pem.Write(text)
	if !bytes.HasSuffix(text, []byte("\n")) {
		c.pem.WriteByte('\n')
	}
	return nil
}

func (c *collection) addFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no file")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	certificates, err := read(data)
	if err != nil {
		return err
	}
	for _, cert := range certificates {
		if c.note(cert.Raw) {
			c.pem.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: cert.Raw}))
		}
	}
	return nil
}

// note tells whether a certificate is new.
func (c *collection) note(der []byte) bool {
	if c.have[string(der)] {
		return false
	}
	if c.have == nil {
		c.have = make(map[string]bool)
	}
	c.have[string(der)] = true
	c.count++
	return true
}

const (
	certificateBlock = "CERTIFICATE"
	begin            = "-----BEGIN "
)

// read gives the certificates in a file, which is PEM with at least one, or one in
// DER.
func read(data []byte) ([]*x509.Certificate, error) {
	ders := [][]byte{data}
	if bytes.Contains(data, []byte(begin)) {
		var err error
		if ders, err = blocks(data); err != nil {
			return nil, err
		}
	}
	var certificates []*x509.Certificate
	for i, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %d: %w", i+1, len(ders), err)
		}
		certificates = append(certificates, cert)
	}
	return certificates, nil
}

// blocks gives the contents of the certificate blocks of a PEM text, which must have
// no others.
func blocks(text []byte) ([][]byte, error) {
	var ders [][]byte
	begun := bytes.Count(text, []byte(begin))
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, errors.New("it holds a private key; take that out, only certificates belong here")
		}
		if block.Type != certificateBlock {
			return nil, fmt.Errorf("it holds a block of type %q; only those of type %q belong here", block.Type, certificateBlock)
		}
		ders = append(ders, block.Bytes)
		text = rest
	}
	if len(ders) != begun { // the decoder skips what it does not understand
		return nil, fmt.Errorf("of its %d PEM blocks %d are damaged", begun, begun-len(ders))
	}
	if ders == nil {
		return nil, errors.New("it holds no certificate")
	}
	return ders, nil
}
