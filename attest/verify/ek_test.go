package verify_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/ek"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/verify"
)

// vendor is a CA for EK certificates.
type vendor struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newVendor(t testing.TB, above *vendor, name string) *vendor {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v := &vendor{key: key}
	if above == nil {
		above = v
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	parent := above.cert
	if above == v {
		parent = template
	}
	v.cert = issue(t, template, parent, key.Public(), above.key)
	return v
}

func issue(t testing.TB, template, parent *x509.Certificate, key crypto.PublicKey, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// directory is a subject's alternative name as TPM vendors write it.
func directory(t testing.TB) []byte {
	t.Helper()
	rdn := pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, 1}, Value: "id:00001014"}}}
	name, err := asn1.Marshal(rdn)
	if err != nil {
		t.Fatal(err)
	}
	return general(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name})
}

func general(t testing.TB, names ...asn1.RawValue) []byte {
	t.Helper()
	b, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var sanID = asn1.ObjectIdentifier{2, 5, 29, 17}

// ekTemplate is of a certificate as vendors issue them.
func ekTemplate(san []byte) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageKeyAgreement,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}},
		ExtraExtensions:    []pkix.Extension{{Id: sanID, Critical: true, Value: san}},
	}
}

func ekPublic(t testing.TB, r *protocol.Request) crypto.PublicKey {
	t.Helper()
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](r.EK)
	if err != nil {
		t.Fatal(err)
	}
	public, err := tpm2.Pub(*area)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// The cases of an endorsement key. The request's certificates are not what the quote is bound to: the key is.
func TestEK(t *testing.T) {
	b := honest(t)
	v := newVendor(t, nil, "vendor")
	public := ekPublic(t, b.request)
	certified := func(template *x509.Certificate) *protocol.Request {
		r := honest(t).request
		r.EKCertificates = [][]byte{issue(t, template, v.cert, public, v.key).Raw}
		return r
	}
	// The tier is None, but for an enrolled machine, and the reason is said.
	problem := func(t *testing.T, r *protocol.Request, o verify.Options, code string) {
		t.Helper()
		e := verified(t, r, b.nonce, o)
		if e.Tier != protocol.None || e.EKProblem == nil || e.EKProblem.Code != code {
			t.Errorf("tier %s, %v; want %s", e.Tier, e.EKProblem, code)
		}
		o.Enrolled = func(node string) bool { return node == e.Node }
		if e = verified(t, r, b.nonce, o); e.Tier != protocol.Enrolled || e.EKProblem == nil {
			t.Errorf("tier %s, %v, though enrolled", e.Tier, e.EKProblem)
		}
		o.Enrolled = func(node string) bool { return false }
		if e = verified(t, r, b.nonce, o); e.Tier != protocol.None {
			t.Errorf("tier %s, though not enrolled", e.Tier)
		}
	}
	trusted := func(t *testing.T, r *protocol.Request, o verify.Options) {
		t.Helper()
		if e := verified(t, r, b.nonce, o); e.Tier != protocol.Attested || e.EKProblem != nil {
			t.Errorf("tier %s, %v", e.Tier, e.EKProblem)
		}
	}
	o := trusting(options(t), v.cert)

	t.Run("trusted CA", func(t *testing.T) {
		trusted(t, certified(ekTemplate(directory(t))), o)
		plain := ekTemplate(nil)
		plain.ExtraExtensions, plain.UnknownExtKeyUsage = nil, nil
		trusted(t, certified(plain), o)
	})
	t.Run("untrusted CA", func(t *testing.T) {
		problem(t, b.request, o, verify.EKUntrusted)
		none := o
		none.Roots = nil
		problem(t, b.request, none, verify.EKUntrusted)
	})
	t.Run("expired", func(t *testing.T) {
		r := certified(ekTemplate(directory(t)))
		late := o
		late.Now = time.Now().Add(2 * time.Hour)
		problem(t, r, late, verify.EKExpired)
		late.Now = time.Now().Add(-2 * time.Hour)
		problem(t, r, late, verify.EKExpired)
	})
	t.Run("self-signed", func(t *testing.T) {
		// An EK cannot sign. Somebody who has made a key that can gives itself a certificate.
		r, key := softEK(t)
		template := ekTemplate(directory(t))
		template.Subject = pkix.Name{CommonName: "TPM"}
		r.request.EKCertificates = [][]byte{issue(t, template, template, key.Public(), key).Raw}
		e := verified(t, r.request, r.nonce, o)
		if e.Tier != protocol.None || e.EKProblem.Code != verify.EKSelfSigned {
			t.Errorf("tier %s, %v", e.Tier, e.EKProblem)
		}
	})
	t.Run("none", func(t *testing.T) {
		r := honest(t).request
		r.EKCertificates = nil
		problem(t, r, o, verify.EKUncertified)
	})
	t.Run("garbage SAN", func(t *testing.T) {
		for _, san := range [][]byte{
			[]byte("garbage"), {},
			append(directory(t), 0),
			general(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: []byte("garbage")}),
			general(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: []byte{0x30, 0, 0}}),
			general(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("\xff\xfe")}),
		} {
			template := ekTemplate(san)
			der, err := x509.CreateCertificate(rand.Reader, template, v.cert, public, v.key)
			if err != nil {
				t.Fatal(err)
			}
			r := honest(t).request
			r.EKCertificates = [][]byte{der}
			problem(t, r, o, verify.EKCertificateMalformed)
		}
	})
	t.Run("unknown critical extension", func(t *testing.T) {
		template := ekTemplate(directory(t))
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
		problem(t, certified(template), o, verify.EKUntrusted)
	})
	t.Run("certificate for something else", func(t *testing.T) {
		template := ekTemplate(directory(t))
		template.UnknownExtKeyUsage, template.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		problem(t, certified(template), o, verify.EKCertificateUsage)
		template = ekTemplate(directory(t))
		template.IsCA = true
		problem(t, certified(template), o, verify.EKCertificateUsage)
	})
	t.Run("certificate of another key", func(t *testing.T) {
		p, log := machine(t, "other")
		other := (&forgery{log: log}).make(t, p)
		r := honest(t).request
		r.EKCertificates = other.request.EKCertificates
		refused(t, r, b.nonce, verify.EKMismatch)
	})
	t.Run("RSA-1024", func(t *testing.T) {
		p, log := machine(t, "honest")
		for _, bits := range []tpm2.TPMKeyBits{1024, 8192} {
			f := forgery{log: log, edit: func(r *protocol.Request) {
				r.EK, r.EKCertificates = tpm2.Marshal(rsaEK(bits)), nil
			}}
			weak := f.make(t, p)
			refused(t, weak.request, weak.nonce, verify.EKWeak)
		}
	})
	t.Run("RSA-2048", func(t *testing.T) {
		p, log := machine(t, "honest")
		f := forgery{log: log, edit: func(r *protocol.Request) {
			r.EK, r.EKCertificates = tpm2.Marshal(rsaEK(2048)), nil
		}}
		r := f.make(t, p)
		verified(t, r.request, r.nonce, o)
	})
	t.Run("P-384", func(t *testing.T) {
		if k, ok := public.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P384() {
			t.Fatalf("swtpm's EK is %T", public)
		}
		trusted(t, b.request, options(t))
	})
	t.Run("trailing bytes", func(t *testing.T) {
		r := honest(t).request
		r.EKCertificates[0] = append(r.EKCertificates[0], bytes.Repeat([]byte{0xff}, 300)...)
		trusted(t, r, options(t))
		r.EKCertificates[0] = append([]byte{0x10, 0x01, 0x00, byte(len(r.EKCertificates[0]) >> 8), byte(len(r.EKCertificates[0]))}, r.EKCertificates[0]...)
		trusted(t, r, options(t))
		p, log := machine(t, "honest")
		f := forgery{log: log, edit: func(r *protocol.Request) { r.EK = append(r.EK, 0) }}
		trailing := f.make(t, p)
		refused(t, trailing.request, trailing.nonce, verify.EKMalformed)
	})
	t.Run("intermediate", func(t *testing.T) {
		between := newVendor(t, v, "between")
		leaf := issue(t, ekTemplate(directory(t)), between.cert, public, between.key)
		r := honest(t).request
		r.EKCertificates = [][]byte{leaf.Raw}
		problem(t, r, o, verify.EKUntrusted)
		known := o
		known.Intermediates = x509.NewCertPool()
		known.Intermediates.AddCert(between.cert)
		trusted(t, r, known)
		r.EKCertificates = [][]byte{leaf.Raw, []byte("not one"), between.cert.Raw}
		trusted(t, r, o)
		known.Intermediates = x509.NewCertPool()
		trusted(t, r, known)
		if !known.Intermediates.Equal(x509.NewCertPool()) {
			t.Error("a request's certificate is kept")
		}
	})
	t.Run("too many certificates", func(t *testing.T) {
		r := honest(t).request
		for range 9 {
			r.EKCertificates = append(r.EKCertificates, v.cert.Raw)
		}
		problem(t, r, options(t), verify.EKCertificateMalformed)
		r.EKCertificates = [][]byte{append(b.request.EKCertificates[0], make([]byte, 9<<10)...)}
		problem(t, r, options(t), verify.EKCertificateMalformed)
	})
	t.Run("not an EK", func(t *testing.T) {
		p, log := machine(t, "honest")
		for code, change := range map[string]func(*tpm2.TPMTPublic){
			verify.EKAttributes + " 1": func(a *tpm2.TPMTPublic) { a.ObjectAttributes.Restricted = false },
			verify.EKAttributes + " 2": func(a *tpm2.TPMTPublic) { a.ObjectAttributes.FixedTPM = false },
			verify.EKAttributes + " 3": func(a *tpm2.TPMTPublic) { a.ObjectAttributes.SignEncrypt = true },
			verify.EKAttributes + " 4": func(a *tpm2.TPMTPublic) { a.AuthPolicy.Buffer = nil },
			verify.EKWeak + " 1":       func(a *tpm2.TPMTPublic) { a.NameAlg = tpm2.TPMAlgSHA1 },
			verify.EKWeak + " 2": func(a *tpm2.TPMTPublic) { // no point of its curve
				point, _ := a.Unique.ECC()
				point.Y.Buffer[3] ^= 1
			},
		} {
			f := forgery{log: log, edit: func(r *protocol.Request) {
				area, err := tpm2.Unmarshal[tpm2.TPMTPublic](r.EK)
				if err != nil {
					t.Fatal(err)
				}
				change(area)
				r.EK, r.EKCertificates = tpm2.Marshal(area), nil
			}}
			r := f.make(t, p)
			refused(t, r.request, r.nonce, code[:len(code)-2])
		}
	})
}

// rsaEK is an endorsement key that nobody has.
func rsaEK(bits tpm2.TPMKeyBits) *tpm2.TPMTPublic {
	for _, p := range ek.Profiles {
		if p.Public.Type != tpm2.TPMAlgRSA {
			continue
		}
		area := p.Public
		parameters, err := area.Parameters.RSADetail()
		if err != nil {
			panic(err)
		}
		changed := *parameters
		changed.KeyBits = bits
		area.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &changed)
		modulus := random(int(bits / 8))
		modulus[0] |= 0x80
		modulus[len(modulus)-1] |= 1
		area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: modulus})
		return &area
	}
	return nil
}

// softEK is a request whose endorsement key is in no TPM.
func softEK(t *testing.T) (boot, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, log := attesttest.New(t, "honest"), attesttest.Log()
	f := forgery{log: log, edit: func(r *protocol.Request) {
		area := ek.Profiles[0].Public
		area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: key.X.FillBytes(make([]byte, 32))},
			Y: tpm2.TPM2BECCParameter{Buffer: key.Y.FillBytes(make([]byte, 32))},
		})
		r.EK = tpm2.Marshal(area)
	}}
	return f.make(t, p), key
}
