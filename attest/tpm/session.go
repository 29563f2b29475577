package tpm

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/ek"
	"github.com/ember-os/ember/attest/protocol"
)

// Session is a TPM with the keys of one process. Its methods may be called at the same time.
type Session struct {
	t             *patient
	ek, ak, tls   key
	certificates  [][]byte
	certification protocol.Signed // of tls by ak
	node          string
}

// key is one that is loaded.
type key struct {
	handle    tpm2.TPMHandle
	name      tpm2.TPM2BName
	area      *tpm2.TPMTPublic
	encoded   []byte // area as the TPM gave it
	public    crypto.PublicKey
	transient bool
}

func newKey(h tpm2.TPMHandle, name tpm2.TPM2BName, public tpm2.TPM2BPublic) (key, error) {
	area, err := public.Contents()
	if err != nil {
		return key{}, err
	}
	pub, err := tpm2.Pub(*area)
	if err != nil {
		return key{}, err
	}
	return key{h, name, area, public.Bytes(), pub, h>>24 == tpm2.TPMHandle(tpm2.TPMHTTransient)}, nil
}

func (k key) is(public crypto.PublicKey) bool {
	p, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && p.Equal(public)
}

// auth is the empty password, which is every key's here.
func (k key) auth() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: k.handle, Name: k.name, Auth: tpm2.PasswordAuth(nil)}
}

// Start finds the endorsement key and makes the keys of the session, which takes about a dozen commands. The
// caller keeps t open until after Close.
func Start(t transport.TPM) (_ *Session, err error) {
	s := &Session{t: patiently(t)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.endorsement(); err != nil {
		return nil, fmt.Errorf("finding the endorsement key: %w", err)
	}
	if s.node, err = protocol.NodeID(s.ek.public); err != nil {
		return nil, err
	}
	if s.ak, err = s.primary(tpm2.TPMRHNull, Template(true)); err != nil {
		return nil, fmt.Errorf("making the attestation key: %w", err)
	}
	if s.tls, err = s.primary(tpm2.TPMRHNull, Template(false)); err != nil {
		return nil, fmt.Errorf("making the TLS key: %w", err)
	}
	c, err := tpm2.Certify{
		ObjectHandle: s.tls.auth(),
		SignHandle:   s.ak.auth(),
		InScheme:     tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
	}.Execute(s.t)
	if err != nil {
		return nil, fmt.Errorf("certifying the TLS key: %w", err)
	}
	s.certification = protocol.Signed{Attest: c.CertifyInfo.Bytes(), Signature: tpm2.Marshal(c.Signature)}
	return s, nil
}

// Template is of a P-256 key for ECDSA with SHA-256. A restricted one signs only what the TPM itself says.
func Template(restricted bool) tpm2.TPMTPublic {
	unique := make([]byte, 32)
	rand.Read(unique)
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true,
			Restricted: restricted, SignEncrypt: true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: tpm2.TPMECCNistP256,
			KDF:     tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: unique},
			Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
		}),
	}
}

func (s *Session) primary(hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic) (key, error) {
	made, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(template),
	}.Execute(s.t)
	if hierarchy == tpm2.TPMRHEndorsement {
		err = password(err)
	}
	if err != nil {
		return key{}, err
	}
	k, err := newKey(made.ObjectHandle, made.Name, made.OutPublic)
	if err != nil {
		return key{}, errors.Join(err, s.flush(key{handle: made.ObjectHandle, transient: true}))
	}
	return k, nil
}

// password tells why an empty password of the endorsement hierarchy is wrong.
func password(err error) error {
	if errors.Is(err, tpm2.TPMRCBadAuth) {
		return fmt.Errorf("%w: %w", ErrPassword, err)
	}
	return err
}

func (s *Session) flush(k key) error {
	if !k.transient {
		return nil
	}
	_, err := tpm2.FlushContext{FlushHandle: k.handle}.Execute(s.t)
	return err
}

// Close removes the keys from the TPM.
func (s *Session) Close() error {
	err := errors.Join(s.flush(s.tls), s.flush(s.ak), s.flush(s.ek))
	s.tls, s.ak, s.ek = key{}, key{}, key{}
	if err != nil {
		return fmt.Errorf("removing the keys of this boot: %w", err)
	}
	return nil
}

// Node is the machine's name.
func (s *Session) Node() string { return s.node }

// Activate is TPM2_ActivateCredential with the endorsement key, by its policy, and the attestation key. The
// arguments are the contents of a TPM2B_ID_OBJECT and of a TPM2B_ENCRYPTED_SECRET. The error is a
// protocol.ErrCredential if the TPM works, and they are not for it.
func (s *Session) Activate(blob, encryptedSecret []byte) ([]byte, error) {
	alg := s.ek.area.NameAlg
	var policy error
	a, err := tpm2.ActivateCredential{
		ActivateHandle: s.ak.auth(),
		KeyHandle: tpm2.AuthHandle{
			Handle: s.ek.handle, Name: s.ek.name,
			Auth: tpm2.Policy(alg, 16, func(t transport.TPM, session tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
				policy = s.authorize(t, session, alg)
				return policy
			}),
		},
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: blob},
		Secret:         tpm2.TPM2BEncryptedSecret{Buffer: encryptedSecret},
	}.Execute(s.t)
	if err != nil {
		var wrong tpm2.TPMFmt1Error
		if policy == nil && errors.As(err, &wrong) {
			if argument, _ := wrong.Parameter(); argument {
				err = fmt.Errorf("%w: %w", protocol.ErrCredential, err)
			}
		}
		return nil, err
	}
	return a.CertInfo.Buffer, nil
}

// authorize fulfils the endorsement key's policy.
func (s *Session) authorize(t transport.TPM, session tpm2.TPMISHPolicy, alg tpm2.TPMIAlgHash) error {
	_, err := tpm2.PolicySecret{
		AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		PolicySession: session,
	}.Execute(t)
	if err != nil || bytes.Equal(s.ek.area.AuthPolicy.Buffer, ek.PolicyA(alg)) {
		return password(err)
	}
	_, err = tpm2.PolicyOr{
		PolicySession: session,
		PHashList:     tpm2.TPMLDigest{Digests: []tpm2.TPM2BDigest{{Buffer: ek.PolicyA(alg)}, {Buffer: ek.PolicyC(alg)}}},
	}.Execute(t)
	return err
}

// Signer is the TLS key: P-256, for digests of SHA-256 only.
func (s *Session) Signer() crypto.Signer { return signer{s, s.tls} }

type signer struct {
	s *Session
	k key
}

func (s signer) Public() crypto.PublicKey { return s.k.public }

// Sign gives an ECDSA signature, in ASN.1. The randomness is the TPM's.
func (s signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 {
		return nil, errors.New("the TPM's key signs SHA-256 only")
	}
	signed, err := tpm2.Sign{
		KeyHandle:  s.k.auth(),
		Digest:     tpm2.TPM2BDigest{Buffer: digest},
		InScheme:   tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
	}.Execute(s.s.t)
	if err != nil {
		return nil, fmt.Errorf("signing with the TPM: %w", err)
	}
	sig, err := signed.Signature.Signature.ECDSA()
	if err != nil {
		return nil, fmt.Errorf("signing with the TPM: %w", err)
	}
	return asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(sig.SignatureR.Buffer), new(big.Int).SetBytes(sig.SignatureS.Buffer),
	})
}
