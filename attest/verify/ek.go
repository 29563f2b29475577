package verify

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"

	"github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/ek"
	"github.com/ember-os/ember/attest/protocol"
)

// parseEK reads the endorsement key: one of the EK Credential Profile, of any size and curve that is strong.
func (in *request) parseEK() *Refusal {
	area, err := readPublic(in.EK)
	if err != nil {
		return refuse(EKMalformed, "the endorsement key is not a public area: %v", err)
	}
	var symmetric tpm2.TPMTSymDefObject
	var scheme, kdf tpm2.TPMAlgID
	switch area.Type {
	case tpm2.TPMAlgRSA:
		p, err := area.Parameters.RSADetail()
		if err != nil {
			return refuse(EKMalformed, "the endorsement key: %v", err)
		}
		symmetric, scheme, kdf = p.Symmetric, p.Scheme.Scheme, tpm2.TPMAlgNull
	case tpm2.TPMAlgECC:
		p, err := area.Parameters.ECCDetail()
		if err != nil {
			return refuse(EKMalformed, "the endorsement key: %v", err)
		}
		symmetric, scheme, kdf = p.Symmetric, p.Scheme.Scheme, p.KDF.Scheme
	default:
		return refuse(EKWeak, "the endorsement key is neither of RSA nor of an elliptic curve")
	}
	a := area.ObjectAttributes
	want := tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, AdminWithPolicy: true, Restricted: true, Decrypt: true,
		UserWithAuth: a.UserWithAuth, NoDA: a.NoDA, // vendors differ
	}
	policyA, policyB := ek.PolicyA(area.NameAlg), ek.PolicyB(area.NameAlg)
	policy := area.AuthPolicy.Buffer
	switch {
	case policyA == nil:
		return refuse(EKWeak, "the endorsement key's name is not of SHA-256, SHA-384 or SHA-512")
	case a != want || !bytes.Equal(policy, policyA) && !bytes.Equal(policy, policyB):
		return refuse(EKAttributes, "the endorsement key has other attributes than one has")
	case scheme != tpm2.TPMAlgNull || kdf != tpm2.TPMAlgNull || !strongAES(symmetric):
		return refuse(EKAttributes, "the endorsement key has other schemes than one has")
	}
	if in.ek, err = tpm2.Pub(*area); err != nil {
		return refuse(EKWeak, "the endorsement key: %v", err)
	}
	if k, ok := in.ek.(*rsa.PublicKey); ok && (k.N.BitLen() < 2048 || k.N.BitLen() > 4096 || k.E != 65537) {
		return refuse(EKWeak, "the endorsement key is of RSA with %d bits and exponent %d", k.N.BitLen(), k.E)
	}
	if in.encapsulation, err = tpm2.ImportEncapsulationKey(area); err != nil {
		return refuse(EKWeak, "nothing can be encrypted to the endorsement key: %v", err)
	}
	return nil
}

func strongAES(s tpm2.TPMTSymDefObject) bool {
	if s.Algorithm != tpm2.TPMAlgAES {
		return false
	}
	bits, err := s.KeyBits.AES()
	if err != nil || *bits < 128 {
		return false
	}
	mode, err := s.Mode.AES()
	return err == nil && *mode == tpm2.TPMAlgCFB
}

// name finds whose TPM it is.
func name(e *Evidence, in *request, _ Options) *Refusal {
	var err error
	if e.Node, err = protocol.NodeID(in.ek); err != nil {
		return refuse(EKWeak, "the endorsement key: %v", err)
	}
	return nil
}

// checkEK finds how far the TPM is trusted.
func checkEK(e *Evidence, in *request, o Options) *Refusal {
	e.EKCertificate, e.EKProblem = readCertificate(in.EKCertificates)
	if e.EKProblem == nil {
		if k, ok := in.ek.(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(e.EKCertificate.PublicKey) {
			return refuse(EKMismatch, "the certificate is of another endorsement key")
		}
		e.EKProblem = trust(e.EKCertificate, in.EKCertificates[1:], o)
	}
	switch {
	case e.EKProblem == nil:
		e.Tier = protocol.Attested
	case o.Enrolled != nil && o.Enrolled(e.Node):
		e.Tier = protocol.Enrolled
	default:
		e.Tier = protocol.None
	}
	return nil
}

const (
	maxCertificates = 9 // the EK's, and eight above it
	maxCertificate  = 8 << 10
)

func readCertificate(ders [][]byte) (*x509.Certificate, *Refusal) {
	if len(ders) == 0 {
		return nil, refuse(EKUncertified, "the endorsement key has no certificate")
	}
	if len(ders) > maxCertificates || slices.ContainsFunc(ders, func(der []byte) bool { return len(der) > maxCertificate }) {
		return nil, refuse(EKCertificateMalformed, "there are more than %d certificates, or one of more than %d bytes", maxCertificates, maxCertificate)
	}
	cert, err := attest.ParseEKCertificate(ders[0])
	if err != nil {
		return nil, refuse(EKCertificateMalformed, "the endorsement key's certificate cannot be read: %v", err)
	}
	if cert.PublicKey == nil {
		return nil, refuse(EKCertificateMalformed, "the endorsement key's certificate is of a key of an unknown kind")
	}
	if err := readName(cert); err != nil {
		return nil, refuse(EKCertificateMalformed, "the endorsement key's certificate has an alternative name that cannot be read: %v", err)
	}
	return cert, nil
}

var (
	subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	ekUsage        = asn1.ObjectIdentifier{2, 23, 133, 8, 1} // tcg-kp-EKCertificate
)

const directoryName = 4 // GeneralName (RFC 5280, 4.2.1.6)

// readName reads the subject's alternative name, whose directory name says vendor, model and version of the
// TPM. It is critical where there is no subject, and crypto/x509 knows no directory names: once read, it is
// not an unknown extension.
func readName(cert *x509.Certificate) error {
	for _, extension := range cert.Extensions {
		if !extension.Id.Equal(subjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(extension.Value, &names); err != nil {
			return err
		} else if len(rest) > 0 {
			return errors.New("something follows it")
		}
		for _, name := range names {
			if name.Class != asn1.ClassContextSpecific || name.Tag != directoryName {
				continue
			}
			var rdn pkix.RDNSequence
			if rest, err := asn1.Unmarshal(name.Bytes, &rdn); err != nil {
				return err
			} else if len(rest) > 0 {
				return errors.New("something follows a directory name")
			}
		}
	}
	cert.UnhandledCriticalExtensions = slices.DeleteFunc(cert.UnhandledCriticalExtensions, subjectAltName.Equal)
	return nil
}

// trust tells why a certificate does not lead to a root.
func trust(cert *x509.Certificate, above [][]byte, o Options) *Refusal {
	usages := len(cert.ExtKeyUsage) + len(cert.UnknownExtKeyUsage)
	if cert.IsCA || usages > 0 && !slices.ContainsFunc(cert.UnknownExtKeyUsage, ekUsage.Equal) {
		return refuse(EKCertificateUsage, "the certificate is not for an endorsement key")
	}
	options := x509.VerifyOptions{
		Roots: o.Roots, Intermediates: o.Intermediates, CurrentTime: o.Now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	if options.Roots == nil { // which would be those of the system
		options.Roots = x509.NewCertPool()
	}
	if len(above) > 0 {
		options.Intermediates = x509.NewCertPool()
		if o.Intermediates != nil {
			options.Intermediates = o.Intermediates.Clone()
		}
		for _, der := range above {
			if c, err := x509.ParseCertificate(der); err == nil { // what cannot be read helps nobody
				options.Intermediates.AddCert(c)
			}
		}
	}
	_, err := cert.Verify(options)
	if err == nil {
		return nil
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return refuse(EKExpired, "the endorsement key's certificate, or one above it, is not valid at this time")
	}
	if bytes.Equal(cert.RawIssuer, cert.RawSubject) && cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil {
		return refuse(EKSelfSigned, "the endorsement key's certificate is signed by that key itself")
	}
	return refuse(EKUntrusted, "the endorsement key's certificate leads to no root that is trusted here: %v", err)
}
