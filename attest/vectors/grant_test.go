package vectors

import (
	"bytes"
	"crypto/hpke"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// grantVector is a grant that was sealed, with all that is computed on the way.
type grantVector struct {
	// What the machine has.
	PrivateKey octets `json:"hpkePrivateKey"`
	PublicKey  octets `json:"hpkeKey"`
	Binding    octets `json:"binding"`
	Secret     octets `json:"activatedSecret"` // what TPM2_ActivateCredential gives
	// The response.
	CredentialBlob  octets `json:"credentialBlob"`
	EncryptedSecret octets `json:"encryptedSecret"`
	Encapsulated    octets `json:"encapsulated"`
	Sealed          octets `json:"sealed"`
	// On the way.
	Shared     octets `json:"shared"`
	Transcript octets `json:"transcript"`
	Key        octets `json:"key"`
	Grant      string `json:"grant"` // JSON, as it was sealed
}

// fill computes what follows from the rest of the response, but for the ciphertext.
func (v *grantVector) fill() (err error) {
	v.Transcript = labelled("ember-attest-v1 transcript", v.Binding, v.CredentialBlob, v.EncryptedSecret, v.Encapsulated)
	if v.Shared, err = sharedSecret(v.PrivateKey, v.Encapsulated); err != nil {
		return err
	}
	v.Key, err = grantKey(v.Shared, v.Secret, v.Transcript)
	return err
}

func (v *grantVector) seal() ([]byte, error) {
	gcm, err := grantCipher(v.Key)
	if err != nil {
		return nil, err
	}
	return gcm.Seal(nil, make([]byte, 12), []byte(v.Grant), v.Transcript), nil
}

func (v *grantVector) open() (string, error) {
	gcm, err := grantCipher(v.Key)
	if err != nil {
		return "", err
	}
	plain, err := gcm.Open(nil, make([]byte, 12), v.Sealed, v.Transcript)
	return string(plain), err
}

func (v *grantVector) response() *protocol.Response {
	return &protocol.Response{
		Version: protocol.Version, CredentialBlob: v.CredentialBlob, EncryptedSecret: v.EncryptedSecret, Encapsulated: v.Encapsulated, Sealed: v.Sealed,
	}
}

// tpm stands for the one that has the secret of the credential.
func (v *grantVector) tpm(blob, encryptedSecret []byte) ([]byte, error) {
	if !bytes.Equal(blob, v.CredentialBlob) || !bytes.Equal(encryptedSecret, v.EncryptedSecret) {
		return nil, errors.New("another credential")
	}
	return v.Secret, nil
}

func someGrant() *protocol.Grant {
	return &protocol.Grant{
		Version: protocol.Version, Time: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		Node: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Tier: protocol.Enrolled,
		Certificates: [][]byte{[]byte("a certificate"), []byte("and the one above it")},
		Overlay:      &protocol.Overlay{URL: "v1/overlay/rack/7", FileKey: bytes.Repeat([]byte{0xfe}, 16), Manifest: []byte("a signed manifest")},
	}
}

func TestGrant(t *testing.T) {
	v := vectors(t, "grant.json", func() (v grantVector) {
		v.PrivateKey, v.Secret = bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
		v.Binding = bytes.Repeat([]byte{3}, 32)
		key := must[hpke.PrivateKey](t)(hpke.MLKEM768X25519().NewPrivateKey(v.PrivateKey))
		v.PublicKey = key.PublicKey().Bytes()
		r := must[*protocol.Response](t)(protocol.Seal(someGrant(), &protocol.Request{HPKEKey: v.PublicKey}, v.Binding, v.Secret,
			func([]byte) (_, _ []byte, _ error) { return []byte("credential blob"), []byte("encrypted secret"), nil }))
		v.CredentialBlob, v.EncryptedSecret, v.Encapsulated, v.Sealed = r.CredentialBlob, r.EncryptedSecret, r.Encapsulated, r.Sealed
		if err := v.fill(); err != nil {
			t.Fatal(err)
		}
		v.Grant = must[string](t)(v.open())
		return v
	})
	again := v
	if err := again.fill(); err != nil {
		t.Fatal(err)
	}
	equal(t, "the shared secret", again.Shared, v.Shared)
	equal(t, "the transcript", again.Transcript, v.Transcript)
	equal(t, "the key", again.Key, v.Key)
	equal(t, "the sealed grant", must[[]byte](t)(v.seal()), v.Sealed)
	if plain, err := v.open(); err != nil || plain != v.Grant {
		t.Errorf("the grant is %s, %v", plain, err)
	}

	key := must[hpke.PrivateKey](t)(hpke.MLKEM768X25519().NewPrivateKey(v.PrivateKey))
	equal(t, "the public key", key.PublicKey().Bytes(), v.PublicKey)
	grant, err := v.response().Open(v.Binding, key, v.tpm)
	if err != nil || !reflect.DeepEqual(grant, someGrant()) {
		t.Fatalf("here it opens as %+v, %v", grant, err)
	}
	equal(t, "the grant, here", must[[]byte](t)(json.Marshal(grant)), []byte(v.Grant))

	// What is sealed here is opened by the other implementation.
	r := must[*protocol.Response](t)(protocol.Seal(grant, &protocol.Request{HPKEKey: v.PublicKey}, v.Binding, v.Secret,
		func([]byte) (_, _ []byte, _ error) { return v.CredentialBlob, v.EncryptedSecret, nil }))
	other := v
	other.Encapsulated, other.Sealed = r.Encapsulated, r.Sealed
	if err := other.fill(); err != nil {
		t.Fatal(err)
	}
	if plain, err := other.open(); err != nil || plain != v.Grant {
		t.Errorf("what is sealed here is %s, %v", plain, err)
	}
}
