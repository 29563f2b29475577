package protocol

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	bindingLabel    = "ember-attest-v1"
	transcriptLabel = "ember-attest-v1 transcript"
	grantLabel      = "ember-attest-v1 grant"
)

// SecretSize is the size of the secret in a credential, in bytes: what fits every kind of EK.
const SecretSize = 32

var (
	kem  = hpke.MLKEM768X25519()
	kdf  = hpke.HKDFSHA256()
	aead = hpke.ExportOnly()
)

// GenerateKey makes the HPKE key of one request.
func GenerateKey() (hpke.PrivateKey, error) { return kem.GenerateKey() }

// NodeID names a machine by its EK: the SHA-256, in hex, of the key's SubjectPublicKeyInfo (RFC 5280).
func NodeID(ek crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(ek)
	if err != nil {
		return "", fmt.Errorf("naming the machine by its endorsement key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// Binding is the extraData of the request's quote: SHA-256 of the label "ember-attest-v1" and the SHA-256 of
// each of nonce, EK, AK, TLS key, HPKE key, event log and claims, in this order. nonce is the TLS exporter's
// value, or that of a Challenge.
func (r *Request) Binding(nonce []byte) []byte {
	return digest(bindingLabel, nonce, r.EK, r.AK, r.TLSKey, r.HPKEKey, r.EventLog, r.Claims)
}

func digest(label string, parts ...[]byte) []byte {
	h := sha256.New()
	h.Write([]byte(label))
	for _, p := range parts {
		sum := sha256.Sum256(p)
		h.Write(sum[:])
	}
	return h.Sum(nil)
}

// Credential is TPM2_MakeCredential: it encrypts secret so that only the TPM that has both the EK and an
// object of that name gives it away.
type Credential func(secret []byte) (blob, encryptedSecret []byte, err error)

// Seal answers request with grant. binding is Binding's value for request, secret SecretSize random bytes.
func Seal(grant *Grant, request *Request, binding, secret []byte, credential Credential) (*Response, error) {
	plain, err := json.Marshal(grant)
	if err != nil {
		return nil, fmt.Errorf("sealing the grant: %w", err)
	}
	key, err := kem.NewPublicKey(request.HPKEKey)
	if err != nil {
		return nil, fmt.Errorf("reading the HPKE key: %w", err)
	}
	enc, sender, err := hpke.NewSender(key, kdf, aead, []byte(grantLabel))
	if err != nil {
		return nil, fmt.Errorf("sealing the grant: %w", err)
	}
	shared, err := sender.Export(grantLabel, SecretSize)
	if err != nil {
		return nil, fmt.Errorf("sealing the grant: %w", err)
	}
	r := &Response{Version: Version, Encapsulated: enc}
	if r.CredentialBlob, r.EncryptedSecret, err = credential(secret); err != nil {
		return nil, fmt.Errorf("making a credential: %w", err)
	}
	transcript := r.transcript(binding)
	gcm, err := grantCipher(shared, secret, transcript)
	if err != nil {
		return nil, err
	}
	r.Sealed = gcm.Seal(nil, make([]byte, gcm.NonceSize()), plain, transcript)
	return r, nil
}

// ErrCredential says that a TPM has not activated a credential because it was made for another one, or damaged.
var ErrCredential = errors.New("the credential is not for this TPM")

// Open opens the grant. binding is that of the request's quote, key its HPKE key, and activate
// TPM2_ActivateCredential with the EK and the AK, which gives the secret.
func (r *Response) Open(binding []byte, key hpke.PrivateKey, activate func(blob, encryptedSecret []byte) ([]byte, error)) (*Grant, error) {
	recipient, err := hpke.NewRecipient(r.Encapsulated, key, kdf, aead, []byte(grantLabel))
	if err != nil {
		return nil, fmt.Errorf("opening the grant: %w", err)
	}
	shared, err := recipient.Export(grantLabel, SecretSize)
	if err != nil {
		return nil, fmt.Errorf("opening the grant: %w", err)
	}
	secret, err := activate(r.CredentialBlob, r.EncryptedSecret)
	if err != nil {
		return nil, fmt.Errorf("activating the credential: %w", err)
	}
	transcript := r.transcript(binding)
	gcm, err := grantCipher(shared, secret, transcript)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, make([]byte, gcm.NonceSize()), r.Sealed, transcript)
	if err != nil {
		return nil, errors.New("opening the grant: it is not what the server made for this request and this TPM")
	}
	return DecodeGrant(plain)
}

// transcript is what the grant's key depends on and its encryption authenticates.
func (r *Response) transcript(binding []byte) []byte {
	return digest(transcriptLabel, binding, r.CredentialBlob, r.EncryptedSecret, r.Encapsulated)
}

// grantCipher has a key for one message, so that its nonce is all zeros.
func grantCipher(shared, secret, transcript []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, append(shared[:len(shared):len(shared)], secret...), transcript, grantLabel, 32)
	if err != nil {
		return nil, fmt.Errorf("making the grant's key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making the grant's key: %w", err)
	}
	return cipher.NewGCM(block)
}

// CheckKey tells whether b is a Request's HPKEKey.
func CheckKey(b []byte) error {
	_, err := kem.NewPublicKey(b)
	return err
}
