package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"math/big"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/protocol"
)

// key is one for ECDSA with P-256 and SHA-256.
type key struct {
	public *ecdsa.PublicKey
	name   []byte // TPM2B_NAME's contents
}

// keyCodes are the refusals of a kind of key.
type keyCodes struct {
	what                                   string
	malformed, algorithm, fixed, attribute string
	restricted                             bool
}

var (
	akCodes  = keyCodes{"attestation key", AKMalformed, AKAlgorithm, AKNotFixed, AKAttributes, true}
	tlsCodes = keyCodes{"TLS key", TLSKeyMalformed, TLSKeyAlgorithm, TLSKeyNotFixed, TLSKeyAttributes, false}
)

// parseKey reads an AK or a TLS key: exactly as package tpm makes it, but for the unique field.
func parseKey(b []byte, c keyCodes) (key, *Refusal) {
	area, err := readPublic(b)
	if err != nil {
		return key{}, refuse(c.malformed, "the %s is not a public area: %v", c.what, err)
	}
	if !signsP256(area) {
		return key{}, refuse(c.algorithm, "the %s is not for ECDSA with P-256 and SHA-256", c.what)
	}
	a := area.ObjectAttributes
	switch {
	case !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin:
		return key{}, refuse(c.fixed, "the %s may be elsewhere than in the TPM", c.what)
	case c.restricted && !a.Restricted:
		return key{}, refuse(AKNotRestricted, "the attestation key signs what the TPM has not made")
	case a != signing(c.restricted) || len(area.AuthPolicy.Buffer) > 0:
		return key{}, refuse(c.attribute, "the %s has other attributes than it must have", c.what)
	}
	parameters, _ := area.Parameters.ECCDetail() // signsP256 has read them
	point, err := area.Unique.ECC()
	if err != nil {
		return key{}, refuse(c.malformed, "the %s has no point: %v", c.what, err)
	}
	public, err := tpm2.ECDSAPub(parameters, point)
	if err != nil {
		return key{}, refuse(c.algorithm, "the %s: %v", c.what, err)
	}
	if _, err := public.ECDH(); err != nil {
		return key{}, refuse(c.malformed, "the %s is no point of its curve", c.what)
	}
	sum := sha256.Sum256(b) // nameAlg is SHA-256, and b is exactly the public area
	return key{public, append(binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMAlgSHA256)), sum[:]...)}, nil
}

// signing are the attributes of a key that signs.
func signing(restricted bool) tpm2.TPMAObject {
	return tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true,
		Restricted: restricted, SignEncrypt: true,
	}
}

func signsP256(area *tpm2.TPMTPublic) bool {
	if area.Type != tpm2.TPMAlgECC || area.NameAlg != tpm2.TPMAlgSHA256 {
		return false
	}
	p, err := area.Parameters.ECCDetail()
	if err != nil || p.CurveID != tpm2.TPMECCNistP256 || p.Symmetric.Algorithm != tpm2.TPMAlgNull ||
		p.KDF.Scheme != tpm2.TPMAlgNull || p.Scheme.Scheme != tpm2.TPMAlgECDSA {
		return false
	}
	scheme, err := p.Scheme.Details.ECDSA()
	return err == nil && scheme.HashAlg == tpm2.TPMAlgSHA256
}

// signatureHeader is a TPMT_SIGNATURE's algorithm and hash.
var signatureHeader = uint32(tpm2.TPMAlgECDSA)<<16 | uint32(tpm2.TPMAlgSHA256)

// signs tells whether s is signed by k. The algorithm is looked at before anything is read by it.
func (k key) signs(s protocol.Signed) (algorithm, ok bool) {
	if len(s.Signature) < 4 || binary.BigEndian.Uint32(s.Signature) != signatureHeader {
		return false, false
	}
	sig, err := readSignature(s.Signature)
	if err != nil {
		return true, false
	}
	digest := sha256.Sum256(s.Attest)
	return true, ecdsa.Verify(k.public, digest[:],
		new(big.Int).SetBytes(sig.SignatureR.Buffer), new(big.Int).SetBytes(sig.SignatureS.Buffer))
}

// checkTLSKey finds that the AK, which signs only what its TPM has made, says that the TLS key is in there.
func checkTLSKey(e *Evidence, in *request, _ Options) *Refusal {
	c := in.TLSKeyCertification
	if _, ok := in.ak.signs(c); !ok {
		return refuse(TLSKeyCertification, "the TLS key's certification is not signed by the attestation key")
	}
	certified, err := readStatement(c.Attest)
	if err != nil || certified.kind != tpm2.TPMSTAttestCertify {
		return refuse(TLSKeyCertification, "the TLS key's certification is not a TPM2_Certify")
	}
	if !bytes.Equal(certified.name, in.tls.name) {
		return refuse(TLSKeyCertification, "the certification is of another key than the TLS key")
	}
	e.TLSKey = in.tls.public
	return nil
}
