package vectors

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/ek"
)

// credentialVector is TPM2_MakeCredential, and what TPM2_ActivateCredential does, for a kind of endorsement key.
type credentialVector struct {
	EK         string `json:"ek"`         // of which kind it is
	Hash       string `json:"nameAlg"`    // the EK's
	KeyBits    int    `json:"keyBits"`    // of the EK's AES
	PrivateKey octets `json:"privateKey"` // the EK's, PKCS #8
	Public     octets `json:"public"`     // the EK's TPMT_PUBLIC
	Name       octets `json:"name"`       // the AK's
	Secret     octets `json:"secret"`
	Ephemeral  octets `json:"ephemeral,omitempty"` // the sender's private scalar; an EK of RSA has none
	// On the way.
	Seed         octets `json:"seed"`
	SymmetricKey octets `json:"symmetricKey"`
	HMACKey      octets `json:"hmacKey"`
	EncIdentity  octets `json:"encIdentity"`
	Integrity    octets `json:"integrity"`
	// The result.
	CredentialBlob  octets `json:"credentialBlob"`
	EncryptedSecret octets `json:"encryptedSecret"`
}

// protect fills in what follows from seed.
func (v *credentialVector) protect(t *testing.T) {
	t.Helper()
	i := must[inner](t)(protect(hashes[v.Hash], v.KeyBits, v.Seed, v.Name, v.Secret))
	v.SymmetricKey, v.HMACKey, v.EncIdentity, v.Integrity, v.CredentialBlob = i.symmetricKey, i.hmacKey, i.encIdentity, i.integrity, i.blob()
}

// seed is what the EK makes of encryptedSecret.
func (v *credentialVector) seed(t *testing.T, encryptedSecret []byte) []byte {
	t.Helper()
	switch key := must[any](t)(x509.ParsePKCS8PrivateKey(v.PrivateKey)).(type) {
	case *rsa.PrivateKey:
		return must[[]byte](t)(seedRSA(hashes[v.Hash], key, encryptedSecret))
	case *ecdsa.PrivateKey:
		return must[[]byte](t)(seedECC(hashes[v.Hash], must[*ecdh.PrivateKey](t)(key.ECDH()), encryptedSecret))
	}
	t.Fatal("the EK is of no kind")
	return nil
}

func TestCredential(t *testing.T) {
	all := vectors(t, "credential.json", func() []credentialVector {
		return []credentialVector{makeECC(t, "ECC P-256, L-2", elliptic.P256(), "SHA-256", 128), makeECC(t, "ECC P-384, H-3", elliptic.P384(), "SHA-384", 256), makeRSA(t)}
	})
	if len(all) != 3 {
		t.Fatalf("there are %d", len(all))
	}
	for _, v := range all {
		t.Run(v.EK, func(t *testing.T) {
			h := hashes[v.Hash]
			private := must[any](t)(x509.ParsePKCS8PrivateKey(v.PrivateKey))
			equal(t, "the private key", must[[]byte](t)(x509.MarshalPKCS8PrivateKey(private)), v.PrivateKey)
			equal(t, "the public area", publicOf(t, private), v.Public)
			equal(t, "the seed", v.seed(t, v.EncryptedSecret), v.Seed)
			again := v
			again.protect(t)
			equal(t, "the symmetric key", again.SymmetricKey, v.SymmetricKey)
			equal(t, "the HMAC's key", again.HMACKey, v.HMACKey)
			equal(t, "the encrypted secret", again.EncIdentity, v.EncIdentity)
			equal(t, "the HMAC", again.Integrity, v.Integrity)
			equal(t, "the blob", again.CredentialBlob, v.CredentialBlob)
			equal(t, "the secret", must[[]byte](t)(activate(h, v.KeyBits, v.Seed, v.Name, v.CredentialBlob)), v.Secret)
			if len(v.Ephemeral) > 0 {
				to := must[*ecdh.PrivateKey](t)(private.(*ecdsa.PrivateKey).ECDH()).PublicKey()
				seed, encrypted, err := shareECC(h, to, must[*ecdh.PrivateKey](t)(to.Curve().NewPrivateKey(v.Ephemeral)))
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "the sender's seed", seed, v.Seed)
				equal(t, "the seed's encryption", encrypted, v.EncryptedSecret)
			}

			// What the server's library makes is opened by the other implementation.
			area := must[*tpm2.TPMTPublic](t)(tpm2.Unmarshal[tpm2.TPMTPublic](v.Public))
			to := must[tpm2.LabeledEncapsulationKey](t)(tpm2.ImportEncapsulationKey(area))
			blob, encrypted, err := tpm2.CreateCredential(rand.Reader, to, v.Name, v.Secret)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "the secret of what is made here", must[[]byte](t)(activate(h, v.KeyBits, v.seed(t, encrypted), v.Name, blob)), v.Secret)
		})
	}
}

// publicOf is the TPMT_PUBLIC of an EK that has that key, as the profile has it.
func publicOf(t *testing.T, key any) []byte {
	t.Helper()
	switch key := key.(type) {
	case *rsa.PrivateKey:
		public := ek.Profiles[3].Public // L-1
		public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: key.N.Bytes()})
		return tpm2.Marshal(public)
	case *ecdsa.PrivateKey:
		public := ek.Profiles[0].Public // L-2
		if key.Curve == elliptic.P384() {
			public = ek.Profiles[2].Public // H-3
		}
		point := must[*ecdh.PublicKey](t)(key.PublicKey.ECDH()).Bytes()[1:]
		public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[:len(point)/2]}, Y: tpm2.TPM2BECCParameter{Buffer: point[len(point)/2:]},
		})
		return tpm2.Marshal(public)
	}
	t.Fatal("the EK is of no kind")
	return nil
}

// begin has what all kinds have.
func begin(t *testing.T, kind, hash string, bits int, key any) credentialVector {
	t.Helper()
	return credentialVector{
		EK: kind, Hash: hash, KeyBits: bits, PrivateKey: must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key)), Public: publicOf(t, key),
		Name: append([]byte{0, 0x0b}, bytes.Repeat([]byte{0xaa}, 32)...), Secret: bytes.Repeat([]byte{5}, 32),
	}
}

func makeECC(t *testing.T, kind string, curve elliptic.Curve, hash string, bits int) credentialVector {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(curve, rand.Reader))
	to := must[*ecdh.PublicKey](t)(key.PublicKey.ECDH())
	ephemeral := must[*ecdh.PrivateKey](t)(to.Curve().GenerateKey(rand.Reader))
	v := begin(t, kind, hash, bits, key)
	v.Ephemeral = ephemeral.Bytes()
	var err error
	if v.Seed, v.EncryptedSecret, err = shareECC(hashes[hash], to, ephemeral); err != nil {
		t.Fatal(err)
	}
	v.protect(t)
	return v
}

func makeRSA(t *testing.T) credentialVector {
	t.Helper()
	key := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	v := begin(t, "RSA 2048, L-1", "SHA-256", 128, key)
	v.Seed = bytes.Repeat([]byte{6}, 32)
	v.EncryptedSecret = must[[]byte](t)(rsa.EncryptOAEP(crypto.SHA256.New(), rand.Reader, &key.PublicKey, v.Seed, []byte("IDENTITY\x00")))
	v.protect(t)
	return v
}
