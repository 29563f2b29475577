package apk

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Key signs packages and indexes: RSA over SHA-256, PKCS #1 v1.5, which gives
// the same signature each time.
type Key struct {
	name    string
	private *rsa.PrivateKey
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9@._-]+\.rsa\.pub$`)

// ParseKey reads a private key from PEM (PKCS #1 or #8). Its name is that of the
// public key's file in /etc/apk/keys: "<something>.rsa.pub".
func ParseKey(name string, text []byte) (*Key, error) {
	if !keyPattern.MatchString(name) {
		return nil, fmt.Errorf("key name %q does not end in .rsa.pub: apko finds no key under it", name)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("key %s is not PEM", name)
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return &Key{name, key}, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing key %s: %w", name, err)
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key %s is not an RSA key", name)
	}
	return &Key{name, private}, nil
}

// Public gives the public key as PEM, as a keyring holds it.
func (k *Key) Public() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.private.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding public key %s: %w", k.name, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// sign gives the gzip member that holds the signature of the one that follows.
func (k *Key) sign(member []byte) ([]byte, error) {
	sum := sha256.Sum256(member)
	signature, err := rsa.SignPKCS1v15(nil, k.private, crypto.SHA256, sum[:])
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k.name, err)
	}
	var b bytes.Buffer
	s := newSegment(&b)
	if err := errors.Join(s.file(".SIGN.RSA256."+k.name, signature, time.Unix(0, 0)), s.close(false)); err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k.name, err)
	}
	return b.Bytes(), nil
}
