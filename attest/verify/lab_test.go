package verify_test

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// boot is a machine that firmware and a stub have measured, and what it has asked.
type boot struct {
	request *protocol.Request
	nonce   []byte
	key     hpke.PrivateKey
}

// ask makes the request that package tpm makes.
func ask(t testing.TB, s *tpm.Session, log []byte) boot {
	t.Helper()
	key, err := protocol.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	nonce := random(protocol.NonceSize)
	r, err := s.Request(nonce, key.PublicKey().Bytes(), log, json.RawMessage(`{"image": "1.2.3", "vendor": "<A & B>"}`))
	if err != nil {
		t.Fatal(err)
	}
	return boot{r, nonce, key}
}

// machine starts a TPM in which firmware has measured.
func machine(t testing.TB, name string) (p *attesttest.TPM, log []byte) {
	t.Helper()
	p = attesttest.New(t, name)
	return p, p.Boot(attesttest.Firmware()...)
}

var once struct {
	sync.Mutex
	wire []byte
	boot
}

// honest gives a copy of one request, as it comes over the wire. The TPM is gone.
func honest(t testing.TB) boot {
	t.Helper()
	once.Lock()
	defer once.Unlock()
	if once.wire == nil {
		p, log := machine(t, "honest")
		s, err := tpm.Start(p)
		if err != nil {
			t.Fatal(err)
		}
		once.boot = ask(t, s, log)
		if once.wire, err = json.Marshal(once.request); err != nil {
			t.Fatal(err)
		}
	}
	r, err := protocol.DecodeRequest(once.wire)
	if err != nil {
		t.Fatal(err)
	}
	return boot{r, bytes.Clone(once.nonce), once.key}
}

func options(t testing.TB) verify.Options {
	t.Helper()
	return verify.Options{Roots: attesttest.Roots(t), Now: time.Now()}
}

// refused fails the test unless the request is refused with the code.
func refused(t *testing.T, r *protocol.Request, nonce []byte, code string) {
	t.Helper()
	e, err := verify.Verify(r, nonce, options(t))
	refusal, ok := err.(*verify.Refusal)
	if !ok || refusal.Code != code || refusal.Message == "" || e != nil {
		t.Errorf("want a refusal of code %s, got %v", code, err)
	}
}

func verified(t testing.TB, r *protocol.Request, nonce []byte, o verify.Options) *verify.Evidence {
	t.Helper()
	e, err := verify.Verify(r, nonce, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// forgery is a request made with a real TPM by somebody who does not use package tpm. Zero fields are what
// package tpm does.
type forgery struct {
	ak, tls, certified *tpm2.TPMTPublic // templates; certified is what is certified in tls' place
	pcrs               *tpm2.TPMLPCRSelection
	scheme             *tpm2.TPMTSigScheme // of signatures
	values             [][]byte
	log                []byte
	edit               func(*protocol.Request) // before the quote
	extraData          func(binding []byte) []byte
}

// template is package tpm's, for change to spoil.
func template(restricted bool, change func(*tpm2.TPMTPublic)) *tpm2.TPMTPublic {
	area := &tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true,
			Restricted: restricted, SignEncrypt: true,
		},
		Parameters: ecdsaParameters(tpm2.TPMECCNistP256, tpm2.TPMAlgSHA256),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: random(16)},
		}),
	}
	if change != nil {
		change(area)
	}
	return area
}

func ecdsaParameters(curve tpm2.TPMECCCurve, hash tpm2.TPMIAlgHash) tpm2.TPMUPublicParms {
	return tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
		Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
		Scheme: tpm2.TPMTECCScheme{
			Scheme:  tpm2.TPMAlgECDSA,
			Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: hash}),
		},
		CurveID: curve,
		KDF:     tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
	})
}

func rsaParameters(bits tpm2.TPMKeyBits) (tpm2.TPMUPublicParms, tpm2.TPMUPublicID) {
	return tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
		Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
		Scheme: tpm2.TPMTRSAScheme{
			Scheme:  tpm2.TPMAlgRSASSA,
			Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256}),
		},
		KeyBits: bits,
	}), tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
}

func pcrs(hash tpm2.TPMIAlgHash, bits ...byte) *tpm2.TPMLPCRSelection {
	return &tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: hash, PCRSelect: bits}}}
}

// again sends a command once more if the TPM asks for it.
type again struct{ transport.TPM }

func (a again) Send(command []byte) ([]byte, error) {
	response, err := a.TPM.Send(command)
	if err == nil && tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])) == tpm2.TPMRCRetry {
		return a.TPM.Send(command)
	}
	return response, err
}

type made struct {
	tpm2.AuthHandle
	area []byte
}

func (f *forgery) make(t *testing.T, p *attesttest.TPM) boot {
	t.Helper()
	s, err := tpm.Start(p)
	if err != nil {
		t.Fatal(err)
	}
	b := ask(t, s, f.log)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	tpm := again{p} // swtpm wants a second try where a key is not exempt from the lockout
	primary := func(given *tpm2.TPMTPublic, restricted bool) made {
		if given == nil {
			given = template(restricted, nil)
		}
		k, err := tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHNull, Auth: tpm2.PasswordAuth(nil)},
			InPublic:      tpm2.New2B(*given),
		}.Execute(tpm)
		if err != nil {
			t.Fatal(err)
		}
		return made{tpm2.AuthHandle{Handle: k.ObjectHandle, Name: k.Name, Auth: tpm2.PasswordAuth(nil)}, k.OutPublic.Bytes()}
	}
	ak, tls := primary(f.ak, true), primary(f.tls, false)
	certified := tls
	if f.certified != nil {
		certified = primary(f.certified, false)
	}
	scheme := tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}
	if f.scheme != nil {
		scheme = *f.scheme
	}
	certify, err := tpm2.Certify{ObjectHandle: certified.AuthHandle, SignHandle: ak.AuthHandle, InScheme: scheme}.Execute(tpm)
	if err != nil {
		t.Fatal(err)
	}
	r := b.request
	r.AK, r.TLSKey = ak.area, tls.area
	r.TLSKeyCertification = protocol.Signed{Attest: certify.CertifyInfo.Bytes(), Signature: tpm2.Marshal(certify.Signature)}
	if f.values != nil {
		r.PCRs = f.values
	}
	if f.edit != nil {
		f.edit(r)
	}
	extraData := r.Binding(b.nonce)
	if f.extraData != nil {
		extraData = f.extraData(extraData)
	}
	selection := pcrs(tpm2.TPMAlgSHA256, 0xff, 0xff, 0)
	if f.pcrs != nil {
		selection = f.pcrs
	}
	quote, err := tpm2.Quote{
		SignHandle: ak.AuthHandle, QualifyingData: tpm2.TPM2BData{Buffer: extraData}, InScheme: scheme, PCRSelect: *selection,
	}.Execute(tpm)
	if err != nil {
		t.Fatal(err)
	}
	r.Quote = protocol.Signed{Attest: quote.Quoted.Bytes(), Signature: tpm2.Marshal(quote.Signature)}
	return b
}

// trusting adds a CA of the test's own.
func trusting(o verify.Options, ca *x509.Certificate) verify.Options {
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(ca)
	return o
}
