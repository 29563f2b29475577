package manifest

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	// label is what a signature is over, with the manifest behind it: a key that signs something else as
	// well gives nobody an overlay.
	label = "ember-overlay-manifest-v1\n"
	// signaturePrefix begins the second line.
	signaturePrefix = "signature "
	// keyPrefix begins a public key as text.
	keyPrefix = "ed25519:"
)

var encoding = base64.RawURLEncoding.Strict()

// Key is a public key that signs manifests. As text it is one word, "ed25519:" and 43 characters of
// base64url.
type Key [ed25519.PublicKeySize]byte

func (k Key) String() string { return keyPrefix + encoding.EncodeToString(k[:]) }

// ParseKey reads a public key.
func ParseKey(text string) (Key, error) {
	b, err := encoding.DecodeString(strings.TrimPrefix(text, keyPrefix))
	// The decoder would skip newlines.
	if err != nil || len(b) != len(Key{}) || Key(b).String() != text {
		return Key{}, fmt.Errorf("%q is not a key for overlays: that is %q and 43 characters", text, keyPrefix)
	}
	return Key(b), nil
}

// ParseKeys reads a file of public keys: one a line, but for empty lines and those that begin with "#". There
// is at least one.
func ParseKeys(text string) ([]Key, error) {
	var keys []Key
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, err := ParseKey(line)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key for overlays")
	}
	return keys, nil
}

// Sign gives the signed manifest. The signer's key is an Ed25519 key.
func Sign(m *Manifest, signer crypto.Signer) ([]byte, error) {
	if _, ok := signer.Public().(ed25519.PublicKey); !ok {
		return nil, fmt.Errorf("signing a manifest: the key is a %T, not an Ed25519 key", signer.Public())
	}
	text, err := m.Encode()
	if err != nil {
		return nil, err
	}
	signature, err := signer.Sign(rand.Reader, signed(text), crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("signing a manifest: %w", err)
	}
	b := fmt.Appendf(nil, "%s\n%s%s\n", text, signaturePrefix, encoding.EncodeToString(signature))
	if len(b) > MaxSize {
		return nil, fmt.Errorf("signing a manifest: with %d nodes it has more than %d bytes", len(m.Nodes), MaxSize)
	}
	return b, nil
}

// Open reads a signed manifest. One of the keys has signed it.
func Open(b []byte, keys ...Key) (*Manifest, error) {
	text, signature, err := split(b)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("no key for overlays is known, so none can be trusted")
	}
	for _, k := range keys {
		if ed25519.Verify(k[:], signed(text), signature) {
			return Decode(text)
		}
	}
	return nil, errors.New("the manifest is not signed by a key that is trusted")
}

// Peek reads a signed manifest without asking who signed it: for those who only pass it on.
func Peek(b []byte) (*Manifest, error) {
	text, _, err := split(b)
	if err != nil {
		return nil, err
	}
	return Decode(text)
}

func split(b []byte) (text, signature []byte, err error) {
	if len(b) > MaxSize {
		return nil, nil, fmt.Errorf("the manifest has more than %d bytes", MaxSize)
	}
	text, line, _ := bytes.Cut(b, []byte("\n"))
	word, ok := bytes.CutPrefix(line, []byte(signaturePrefix))
	if !ok {
		return nil, nil, errors.New("the manifest is not signed: it has no second line with a signature")
	}
	word, ok = bytes.CutSuffix(word, []byte("\n"))
	// Newlines inside would be ignored in base64.
	if !ok || bytes.ContainsAny(word, "\r\n") {
		return nil, nil, errors.New("the manifest does not end with the line of its signature")
	}
	signature, err = encoding.DecodeString(string(word))
	if err != nil || len(signature) != ed25519.SignatureSize {
		return nil, nil, errors.New("the manifest's signature is not 86 characters of base64url")
	}
	return text, signature, nil
}

func signed(text []byte) []byte { return append([]byte(label), text...) }
