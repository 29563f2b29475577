package attesttest

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
)

var owner = tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}

// WriteNV makes an NV index of the owner's, as those of certificates are: whoever may use the TPM may read it.
func (p *TPM) WriteNV(index tpm2.TPMHandle, data []byte) error {
	area := tpm2.TPMSNVPublic{
		NVIndex: index, NameAlg: tpm2.TPMAlgSHA256,
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthRead: true, NoDA: true},
		DataSize:   uint16(len(data)),
	}
	if _, err := (tpm2.NVDefineSpace{AuthHandle: owner, PublicInfo: tpm2.New2B(area)}).Execute(p); err != nil {
		return err
	}
	for at := 0; at < len(data); at += 512 {
		public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(p) // its name changes with the first write
		if err != nil {
			return err
		}
		_, err = tpm2.NVWrite{
			AuthHandle: owner, NVIndex: tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Data: tpm2.TPM2BMaxNVBuffer{Buffer: data[at:min(at+512, len(data))]}, Offset: uint16(at),
		}.Execute(p)
		if err != nil {
			return err
		}
	}
	return nil
}

// DeleteNV removes an index that the factory has made.
func (p *TPM) DeleteNV(index tpm2.TPMHandle) error {
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(p)
	if err != nil {
		return err
	}
	_, err = tpm2.NVUndefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)},
		NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
	}.Execute(p)
	return err
}

// Evict removes a persistent key.
func (p *TPM) Evict(h tpm2.TPMHandle) error {
	public, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(p)
	if err != nil {
		return err
	}
	_, err = tpm2.EvictControl{Auth: owner, ObjectHandle: tpm2.NamedHandle{Handle: h, Name: public.Name}, PersistentHandle: h}.Execute(p)
	return err
}

// Certify issues an EK certificate for a public key by the test CA, as DER. It is there once there is a TPM.
func Certify(t testing.TB, ek crypto.PublicKey) []byte {
	t.Helper()
	der, err := CertificateOf(ek)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// CertificateOf is Certify for other goroutines than the test's.
func CertificateOf(ek crypto.PublicKey) ([]byte, error) {
	ca, err := tls.LoadX509KeyPair(CAFile(), filepath.Join(filepath.Dir(CAFile()), "key.pem"))
	if err != nil {
		return nil, err
	}
	name, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, 1}, Value: "id:00001014"}}})
	if err != nil {
		return nil, err
	}
	san, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name}})
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		BasicConstraintsValid: true,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}, // tcg-kp-EKCertificate
		ExtraExtensions:       []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: san}},
	}
	return x509.CreateCertificate(rand.Reader, template, ca.Leaf, ek, ca.PrivateKey)
}
