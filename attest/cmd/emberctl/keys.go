package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/ember-os/ember/attest/overlay/manifest"
)

const (
	pemType   = "PRIVATE KEY" // PKCS #8, RFC 5958
	ageHeader = "age-encryption.org/"
)

// workFactor is scrypt's for a passphrase, as a power of two: about a second.
const workFactor = 18

// formatKey gives a private key as PEM, which is encrypted with age if there is a passphrase.
func formatKey(key ed25519.PrivateKey, passphrase string, workFactor int) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("writing the signing key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
	if passphrase == "" {
		return text, nil
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("encrypting the signing key: %w", err)
	}
	recipient.SetWorkFactor(workFactor)
	var b bytes.Buffer
	w, err := age.Encrypt(&b, recipient)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypting the signing key: %w", err)
	}
	return b.Bytes(), nil
}

// parseKey reads what formatKey gives, or any other Ed25519 key in PEM. ask is for a passphrase, if one is
// needed.
func parseKey(text []byte, ask func() (string, error)) (ed25519.PrivateKey, error) {
	if bytes.HasPrefix(text, []byte(ageHeader)) {
		passphrase, err := ask()
		if err != nil {
			return nil, err
		}
		if text, err = decrypt(text, passphrase); err != nil {
			return nil, fmt.Errorf("opening the signing key, is the passphrase right? %w", err)
		}
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType {
		return nil, fmt.Errorf("the signing key is no PEM file with a %s", pemType)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	if k, ok := key.(ed25519.PrivateKey); ok {
		return k, nil
	}
	return nil, fmt.Errorf("the signing key is a %T, not an Ed25519 key", key)
}

// readSigner reads a file with a signing key.
func readSigner(ctx context.Context, path string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	return parseKey(text, func() (string, error) { return askPassphrase(ctx, "Passphrase for "+path+": ") })
}

func decrypt(text []byte, passphrase string) ([]byte, error) {
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(bytes.NewReader(text), identity)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// public is the public half of a signing key.
func public(key ed25519.PrivateKey) manifest.Key {
	return manifest.Key(key.Public().(ed25519.PublicKey))
}

// readRecipients reads the servers' keys: each value is one, or a file of them.
func readRecipients(values []string) ([]age.Recipient, error) {
	var all []age.Recipient
	for _, value := range values {
		text := value
		if !strings.HasPrefix(value, "age1") {
			b, err := os.ReadFile(value)
			if err != nil {
				return nil, fmt.Errorf("reading a recipient: %w", err)
			}
			text = string(b)
		}
		some, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("reading a recipient: %w", err)
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, errors.New("no recipient given")
	}
	return all, nil
}

// readTrusted reads public keys: each value is one, or a file of them.
func readTrusted(values []string) ([]manifest.Key, error) {
	var all []manifest.Key
	for _, value := range values {
		if k, err := manifest.ParseKey(value); err == nil {
			all = append(all, k)
			continue
		}
		b, err := os.ReadFile(value)
		if err != nil {
			return nil, fmt.Errorf("reading a public key: %w", err)
		}
		some, err := manifest.ParseKeys(string(b))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", value, err)
		}
		all = append(all, some...)
	}
	return all, nil
}
