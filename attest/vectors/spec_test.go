package vectors

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384
	"encoding/binary"
	"errors"
	"slices"
)

// This file is the protocol once more, written from docs/attestation-protocol.md and docs/sealing.md with nothing but
// the standard library. It does not use the packages that the vectors are to test.

func sum(parts ...[]byte) []byte {
	s := sha256.Sum256(slices.Concat(parts...))
	return s[:]
}

// labelled is SHA-256(label ‖ H(part) ‖ …).
func labelled(label string, parts ...[]byte) []byte {
	all := []byte(label)
	for _, p := range parts {
		all = append(all, sum(p)...)
	}
	return sum(all)
}

// expandLabel is HKDF-Expand-Label of RFC 8446, 7.1.
func expandLabel(h crypto.Hash, secret []byte, label string, context []byte, size int) ([]byte, error) {
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "+label...)
	info = append(append(info, byte(len(context))), context...)
	return hkdf.Expand(h.New, secret, string(info), size)
}

// exporter is the TLS exporter of RFC 8446, 7.5, with an empty context.
func exporter(h crypto.Hash, secret []byte, label string, size int) ([]byte, error) {
	empty := h.New().Sum(nil)
	derived, err := expandLabel(h, secret, label, empty, h.Size())
	if err != nil {
		return nil, err
	}
	return expandLabel(h, derived, "exporter", empty, size)
}

const (
	kemID  = 0x647a // MLKEM768-X25519
	kdfID  = 0x0001 // HKDF-SHA256
	aeadID = 0xffff // export only
	info   = "ember-attest-v1 grant"
)

// sharedSecret is what HPKE (RFC 9180) exports on the machine's side.
func sharedSecret(privateKey, encapsulated []byte) ([]byte, error) {
	kem, err1 := hpke.NewKEM(kemID)
	kdf, err2 := hpke.NewKDF(kdfID)
	aead, err3 := hpke.NewAEAD(aeadID)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	key, err := kem.NewPrivateKey(privateKey)
	if err != nil {
		return nil, err
	}
	r, err := hpke.NewRecipient(encapsulated, key, kdf, aead, []byte(info))
	if err != nil {
		return nil, err
	}
	return r.Export(info, 32)
}

// grantKey is HKDF-SHA256(shared ‖ secret, salt: transcript).
func grantKey(shared, secret, transcript []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, slices.Concat(shared, secret), transcript, info, 32)
}

func grantCipher(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// kdfA is of the TPM 2.0 Library, part 1, 9.4.10.2: with a zero behind the label, of the bits of size bytes.
func kdfA(h crypto.Hash, key []byte, label string, context []byte, size int) []byte {
	var out []byte
	for i := uint32(1); len(out) < size; i++ {
		m := hmac.New(h.New, key)
		m.Write(binary.BigEndian.AppendUint32(nil, i))
		m.Write(append([]byte(label), 0))
		m.Write(context)
		m.Write(binary.BigEndian.AppendUint32(nil, uint32(8*size)))
		out = m.Sum(out)
	}
	return out[:size]
}

// kdfE is the same, 9.4.10.3, for one block of the hash.
func kdfE(h crypto.Hash, z []byte, use string, u, v []byte) []byte {
	d := h.New()
	d.Write(binary.BigEndian.AppendUint32(nil, 1))
	d.Write(z)
	d.Write(append([]byte(use), 0))
	d.Write(u)
	d.Write(v)
	return d.Sum(nil)
}

// sized is a TPM2B.
func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

func unsized(b []byte) (first, rest []byte, err error) {
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
		return nil, nil, errors.New("a TPM2B is cut short")
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:n], b[n:], nil
}

// x is the first coordinate of an uncompressed point.
func x(k *ecdh.PublicKey) []byte {
	b := k.Bytes()[1:]
	return b[:len(b)/2]
}

// shareECC makes the seed of a credential for an EK on a curve, and what encrypts it, with that ephemeral key.
func shareECC(h crypto.Hash, ek *ecdh.PublicKey, ephemeral *ecdh.PrivateKey) (seed, encryptedSecret []byte, err error) {
	z, err := ephemeral.ECDH(ek)
	if err != nil {
		return nil, nil, err
	}
	point := ephemeral.PublicKey().Bytes()[1:]
	half := len(point) / 2
	return kdfE(h, z, "IDENTITY", point[:half], x(ek)), append(sized(point[:half]), sized(point[half:])...), nil
}

// seedECC is what the TPM does with encryptedSecret, on such a curve.
func seedECC(h crypto.Hash, ek *ecdh.PrivateKey, encryptedSecret []byte) ([]byte, error) {
	px, rest, err := unsized(encryptedSecret)
	if err != nil {
		return nil, err
	}
	py, _, err := unsized(rest)
	if err != nil {
		return nil, err
	}
	size := len(x(ek.PublicKey()))
	point := []byte{4} // uncompressed
	for _, c := range [][]byte{px, py} {
		point = append(append(point, make([]byte, size-len(c))...), c...)
	}
	ephemeral, err := ek.Curve().NewPublicKey(point)
	if err != nil {
		return nil, err
	}
	z, err := ek.ECDH(ephemeral)
	if err != nil {
		return nil, err
	}
	return kdfE(h, z, "IDENTITY", x(ephemeral), x(ek.PublicKey())), nil
}

// seedRSA is what the TPM does with encryptedSecret, for an EK of RSA.
func seedRSA(h crypto.Hash, ek *rsa.PrivateKey, encryptedSecret []byte) ([]byte, error) {
	return rsa.DecryptOAEP(h.New(), nil, ek, encryptedSecret, []byte("IDENTITY\x00"))
}

// inner are the parts of a credential behind the seed (TPM 2.0 Library, part 1, 24).
type inner struct{ symmetricKey, hmacKey, encIdentity, integrity []byte }

// protect makes a credential's parts of its secret.
func protect(h crypto.Hash, keyBits int, seed, name, secret []byte) (i inner, err error) {
	i.symmetricKey = kdfA(h, seed, "STORAGE", name, keyBits/8)
	i.hmacKey = kdfA(h, seed, "INTEGRITY", nil, h.Size())
	block, err := aes.NewCipher(i.symmetricKey)
	if err != nil {
		return i, err
	}
	i.encIdentity = sized(secret)
	cipher.NewCFBEncrypter(block, make([]byte, aes.BlockSize)).XORKeyStream(i.encIdentity, i.encIdentity)
	m := hmac.New(h.New, i.hmacKey)
	m.Write(i.encIdentity)
	m.Write(name)
	i.integrity = m.Sum(nil)
	return i, nil
}

func (i inner) blob() []byte { return append(sized(i.integrity), i.encIdentity...) }

// activate is TPM2_ActivateCredential, behind the seed.
func activate(h crypto.Hash, keyBits int, seed, name, credentialBlob []byte) ([]byte, error) {
	integrity, encIdentity, err := unsized(credentialBlob)
	if err != nil {
		return nil, err
	}
	m := hmac.New(h.New, kdfA(h, seed, "INTEGRITY", nil, h.Size()))
	m.Write(encIdentity)
	m.Write(name)
	if !hmac.Equal(m.Sum(nil), integrity) {
		return nil, errors.New("the credential is of another name, or damaged")
	}
	block, err := aes.NewCipher(kdfA(h, seed, "STORAGE", name, keyBits/8))
	if err != nil {
		return nil, err
	}
	plain := slices.Clone(encIdentity)
	cipher.NewCFBDecrypter(block, make([]byte, aes.BlockSize)).XORKeyStream(plain, plain)
	secret, _, err := unsized(plain)
	return secret, err
}

// Numbers of the TPM 2.0 Library, part 2.
const (
	ccPolicyNV  = 0x149
	ccPolicyOR  = 0x171
	ccPolicyPCR = 0x17f
	unsignedLE  = 0x0009
	sha256ID    = 0x000b
)

func number(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// policyPCR is the digest of a policy that is TPM2_PolicyPCR of SHA-256 PCRs.
func policyPCR(pcrs []int, values map[int][]byte) []byte {
	selection := []byte{0, 0, 0, 1, 0, sha256ID, 3, 0, 0, 0}
	var all []byte
	for _, pcr := range pcrs {
		selection[7+pcr/8] |= 1 << (pcr % 8)
		all = append(all, values[pcr]...)
	}
	return sum(make([]byte, 32), number(ccPolicyPCR), selection, sum(all))
}

// policyOR replaces what was before.
func policyOR(digests [][]byte) []byte {
	return sum(make([]byte, 32), number(ccPolicyOR), slices.Concat(digests...))
}

// policyNV adds that the counter is not above until.
func policyNV(before []byte, until uint64, name []byte) []byte {
	arguments := sum(binary.BigEndian.AppendUint64(nil, until), []byte{0, 0}, []byte{0, unsignedLE})
	return sum(before, number(ccPolicyNV), arguments, name)
}

// counter is the TPMS_NV_PUBLIC of the counter, once it has a value.
var counter = slices.Concat(
	number(0x0182454d), []byte{0, sha256ID},
	number(1<<2|1<<4|1<<18|1<<25|1<<29), // AUTHWRITE, COUNTER, AUTHREAD, NO_DA, WRITTEN
	[]byte{0, 0}, []byte{0, 8},
)

func counterName() []byte { return append([]byte{0, sha256ID}, sum(counter)...) }
