// Package ek has the endorsement keys of the TCG EK Credential Profile for TPM 2.0: where their certificates
// are, what they are made from and what authorizes their use.
package ek

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// Profile is one kind of endorsement key.
type Profile struct {
	// Certificate is the NV index of its certificate.
	Certificate tpm2.TPMHandle
	// Public is the template: TPM2_CreatePrimary in the endorsement hierarchy makes the same key from it every
	// time.
	Public tpm2.TPMTPublic
}

// Profiles are the kinds that are known, the quickest to make first. The order decides which key a machine
// with several is named by, so it stays.
var Profiles = []Profile{
	{0x01c0000a, eccTemplate(low, tpm2.TPMECCNistP256, tpm2.TPMAlgSHA256, 128)},
	{0x01c00014, eccTemplate(high, tpm2.TPMECCNistP256, tpm2.TPMAlgSHA256, 128)},
	{0x01c00016, eccTemplate(high, tpm2.TPMECCNistP384, tpm2.TPMAlgSHA384, 256)},
	{0x01c00002, rsaTemplate(low, 2048, tpm2.TPMAlgSHA256, 128)},
	{0x01c00012, rsaTemplate(high, 2048, tpm2.TPMAlgSHA256, 128)},
}

// The NV indices of certificates above an EK's: DER, one after the other, also across indices.
const (
	FirstChain tpm2.TPMHandle = 0x01c00100
	LastChain  tpm2.TPMHandle = 0x01c001ff
)

// The two ranges of the profile: the high one has attributes, a policy and an empty unique field of its own.
const (
	low  = false
	high = true
)

func attributes(high bool) tpm2.TPMAObject {
	return tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
		UserWithAuth: high, AdminWithPolicy: true,
		Restricted: true, Decrypt: true,
	}
}

func policy(high bool, alg tpm2.TPMIAlgHash) tpm2.TPM2BDigest {
	if high {
		return tpm2.TPM2BDigest{Buffer: PolicyB(alg)}
	}
	return tpm2.TPM2BDigest{Buffer: PolicyA(alg)}
}

// unique is size zeros in the low range, nothing in the high one.
func unique(high bool, size int) []byte {
	if high {
		return nil
	}
	return make([]byte, size)
}

func aes(bits tpm2.TPMKeyBits) tpm2.TPMTSymDefObject {
	return tpm2.TPMTSymDefObject{
		Algorithm: tpm2.TPMAlgAES,
		KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, bits),
		Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
	}
}

func eccTemplate(high bool, curve tpm2.TPMECCCurve, alg tpm2.TPMIAlgHash, bits tpm2.TPMKeyBits) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: alg, ObjectAttributes: attributes(high), AuthPolicy: policy(high, alg),
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: aes(bits),
			Scheme:    tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgNull},
			CurveID:   curve,
			KDF:       tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: unique(high, 32)},
			Y: tpm2.TPM2BECCParameter{Buffer: unique(high, 32)},
		}),
	}
}

func rsaTemplate(high bool, size tpm2.TPMKeyBits, alg tpm2.TPMIAlgHash, bits tpm2.TPMKeyBits) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgRSA, NameAlg: alg, ObjectAttributes: attributes(high), AuthPolicy: policy(high, alg),
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
			Symmetric: aes(bits),
			Scheme:    tpm2.TPMTRSAScheme{Scheme: tpm2.TPMAlgNull},
			KeyBits:   size,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: unique(high, int(size)/8)}),
	}
}

func newHash(alg tpm2.TPMIAlgHash) hash.Hash {
	switch alg {
	case tpm2.TPMAlgSHA256:
		return sha256.New()
	case tpm2.TPMAlgSHA384:
		return sha512.New384()
	case tpm2.TPMAlgSHA512:
		return sha512.New()
	}
	return nil
}

// PolicyA is the policy of the low range: TPM2_PolicySecret of the endorsement hierarchy. It is nil for a hash
// that the profile does not have.
func PolicyA(alg tpm2.TPMIAlgHash) []byte {
	h := newHash(alg)
	if h == nil {
		return nil
	}
	h.Write(make([]byte, h.Size()))
	binary.Write(h, binary.BigEndian, tpm2.TPMCCPolicySecret)
	binary.Write(h, binary.BigEndian, tpm2.TPMRHEndorsement)
	once := h.Sum(nil)
	h.Reset()
	h.Write(once) // and an empty policyRef
	return h.Sum(nil)
}

// indexNames are the names of the NV indices that PolicyC refers to.
var indexNames = map[tpm2.TPMIAlgHash]string{
	tpm2.TPMAlgSHA256: "000b0c9d717e9c3fe69fda41769450bb145957f8b3610e084dbf65591a5d11ecd83f",
	tpm2.TPMAlgSHA384: "000cdb62fca346612c976732ff4e8621fb4e858be82586486504f7d02e621f8d7d61" +
		"ae32cfc60c4d120609ed6768afcf090c",
	tpm2.TPMAlgSHA512: "000d1c47c0bbcbd3cf7d7cae6987d31937c171015dde3b7f0d3c869bca1f7e8a223b" +
		"9acfadb49b7c9cf14d450f41e9327de34d9291eece2c58ab1dc10e9059cce560",
}

// PolicyC is the other branch of PolicyB: TPM2_PolicyAuthorizeNV, which lets a platform's owner choose a policy.
func PolicyC(alg tpm2.TPMIAlgHash) []byte {
	h := newHash(alg)
	if h == nil {
		return nil
	}
	name, err := hex.DecodeString(indexNames[alg])
	if err != nil {
		panic(err)
	}
	h.Write(make([]byte, h.Size()))
	binary.Write(h, binary.BigEndian, tpm2.TPMCCPolicyAuthorizeNV)
	h.Write(name)
	return h.Sum(nil)
}

// PolicyB is the policy of the high range: TPM2_PolicyOR of PolicyA and PolicyC.
func PolicyB(alg tpm2.TPMIAlgHash) []byte {
	h := newHash(alg)
	if h == nil {
		return nil
	}
	h.Write(make([]byte, h.Size()))
	binary.Write(h, binary.BigEndian, tpm2.TPMCCPolicyOR)
	h.Write(slices.Concat(PolicyA(alg), PolicyC(alg)))
	return h.Sum(nil)
}
