package verify

import (
	"bytes"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/ek"
)

// maxStructure is twice what the largest structure has, the public area of an RSA 4096 key, in bytes.
const maxStructure = 2048

// readPublic reads a public area that fills b. go-tpm's way by reflection takes as long as verifying a signature, so
// areas of the usual forms are not read but recognized; the result is the same.
func readPublic(b []byte) (*tpm2.TPMTPublic, error) {
	for i := range forms {
		if unique, ok := bytes.CutPrefix(b, forms[i].start); ok {
			if area := forms[i].with(unique); area != nil {
				return area, nil
			}
		}
	}
	return readAnyPublic(b)
}

// readAnyPublic is readPublic for an area of any form.
func readAnyPublic(b []byte) (*tpm2.TPMTPublic, error) {
	if len(b) > maxStructure {
		return nil, fmt.Errorf("it has more than %d bytes", maxStructure)
	}
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(tpm2.Marshal(area), b) {
		return nil, errors.New("it is not as the TPM 2.0 Library writes it")
	}
	return area, nil
}

// form is a kind of key: public areas that differ in the unique field at their end only.
type form struct {
	area  tpm2.TPMTPublic // without the unique field
	start []byte          // all bytes before it
	size  int             // of its parts, in bytes: a modulus, or two coordinates
}

// forms are those of an AK, a TLS key, and of all endorsement keys that machines choose from.
var forms = newForms()

func newForms() (forms []form) {
	for _, restricted := range []bool{true, false} {
		forms = append(forms, newForm(tpm2.TPMTPublic{
			Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: signing(restricted),
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
				Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
				Scheme: tpm2.TPMTECCScheme{
					Scheme:  tpm2.TPMAlgECDSA,
					Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
				},
				CurveID: tpm2.TPMECCNistP256,
				KDF:     tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
			}),
		}))
	}
	for _, p := range ek.Profiles {
		forms = append(forms, newForm(p.Public))
	}
	return forms
}

func newForm(area tpm2.TPMTPublic) form {
	f := form{area: area}
	ends := 0 // bytes of an empty unique field
	switch area.Type {
	case tpm2.TPMAlgRSA:
		p, err := area.Parameters.RSADetail()
		if err != nil {
			panic(err)
		}
		f.size, ends = int(p.KeyBits)/8, 2
		f.area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
	case tpm2.TPMAlgECC:
		p, err := area.Parameters.ECCDetail()
		if err != nil {
			panic(err)
		}
		curve := map[tpm2.TPMECCCurve]elliptic.Curve{tpm2.TPMECCNistP256: elliptic.P256(), tpm2.TPMECCNistP384: elliptic.P384()}[p.CurveID]
		f.size, ends = curve.Params().BitSize/8, 4
		f.area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	}
	b := tpm2.Marshal(&f.area)
	f.start = b[:len(b)-ends]
	read, err := readAnyPublic(b) // with all that go-tpm fills in
	if err != nil {
		panic(err)
	}
	f.area = *read
	return f
}

// with is the area with that unique field, nil for one of another size.
func (f *form) with(unique []byte) *tpm2.TPMTPublic {
	r := reader{b: unique}
	area := f.area
	if area.Type == tpm2.TPMAlgRSA {
		modulus := r.sized()
		if !r.done() || len(modulus) != f.size {
			return nil
		}
		area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: modulus})
		return &area
	}
	x, y := r.sized(), r.sized()
	if !r.done() || len(x) != f.size || len(y) != f.size {
		return nil
	}
	area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: x}, Y: tpm2.TPM2BECCParameter{Buffer: y},
	})
	return &area
}

// statement is a TPMS_ATTEST of TPM2_Quote or TPM2_Certify.
type statement struct {
	kind  tpm2.TPMST
	extra []byte // extraData
	// pcrs and digest are a quote's.
	pcrs   tpm2.TPMLPCRSelection
	digest []byte
	// name is that of the certified object.
	name []byte
}

// readStatement reads a TPMS_ATTEST that fills b.
func readStatement(b []byte) (s statement, err error) {
	r := reader{b: b}
	magic := tpm2.TPMGenerated(r.number(4))
	s.kind = tpm2.TPMST(r.number(2))
	r.sized() // qualifiedSigner
	s.extra = r.sized()
	r.take(8 + 4 + 4) // clock, resetCount, restartCount
	safe := r.number(1)
	r.take(8) // firmwareVersion
	switch s.kind {
	case tpm2.TPMSTAttestQuote:
		for n := r.number(4); n > 0 && !r.short; n-- {
			hash := tpm2.TPMIAlgHash(r.number(2))
			s.pcrs.PCRSelections = append(s.pcrs.PCRSelections, tpm2.TPMSPCRSelection{Hash: hash, PCRSelect: r.take(int(r.number(1)))})
		}
		s.digest = r.sized()
	case tpm2.TPMSTAttestCertify:
		s.name = r.sized()
		r.sized() // qualifiedName
	default:
		return s, errors.New("it is of another kind")
	}
	if magic != tpm2.TPMGeneratedValue || safe > 1 || len(b) > maxStructure || !r.done() {
		return s, errors.New("it is not as the TPM 2.0 Library writes it")
	}
	return s, nil
}

// readSignature reads a TPMT_SIGNATURE by ECDSA that fills b.
func readSignature(b []byte) (s tpm2.TPMSSignatureECC, err error) {
	r := reader{b: b}
	algorithm := tpm2.TPMAlgID(r.number(2))
	s.Hash = tpm2.TPMIAlgHash(r.number(2))
	s.SignatureR.Buffer, s.SignatureS.Buffer = r.sized(), r.sized()
	if algorithm != tpm2.TPMAlgECDSA || len(b) > maxStructure || !r.done() {
		return s, errors.New("it is not as the TPM 2.0 Library writes it")
	}
	return s, nil
}

// reader reads numbers and TPM2B structures. What is not there is zero.
type reader struct {
	b     []byte
	short bool // something was not there
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.short = nil, true
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

// number is one of size bytes, big-endian; at most four.
func (r *reader) number(size int) uint32 {
	var b [4]byte
	copy(b[4-size:], r.take(size))
	return binary.BigEndian.Uint32(b[:])
}

func (r *reader) sized() []byte { return r.take(int(r.number(2))) }

// done tells whether everything was there, and nothing else.
func (r *reader) done() bool { return !r.short && len(r.b) == 0 }
