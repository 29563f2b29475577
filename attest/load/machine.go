package load

import (
	"crypto"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/ek"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
)

// Maker makes machines in one TPM, and quotes for them. It may be used by several goroutines.
type Maker struct {
	mu      sync.Mutex
	tpm     transport.TPM
	certify func(ek crypto.PublicKey) ([]byte, error)
	log     []byte
	pcrs    [][]byte
}

// NewMaker begins with a TPM that nothing else uses, and whose platform hierarchy has an empty password. Log
// is the event log of what has been measured in it, and certify gives the certificate, as DER, of an
// endorsement key.
func NewMaker(t transport.TPM, log []byte, certify func(ek crypto.PublicKey) ([]byte, error)) (*Maker, error) {
	s, err := tpm.Start(t)
	if err != nil {
		return nil, err
	}
	key, err := protocol.GenerateKey()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	r, err := s.Request(make([]byte, protocol.NonceSize), key.PublicKey().Bytes(), log, nil)
	if err = errors.Join(err, s.Close()); err != nil {
		return nil, err
	}
	return &Maker{tpm: t, certify: certify, log: log, pcrs: r.PCRs}, nil
}

// Machine is one machine. Its keys have been made by a TPM, which still signs with its attestation key, but has
// forgotten its endorsement key.
type Machine struct {
	maker  *Maker
	fixed  protocol.Request // what does not depend on a connection
	ak     tpm2.TPMSContext
	akName tpm2.TPM2BName
}

// Machine makes a machine.
func (m *Maker) Machine() (*Machine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	made, err := m.make()
	if err != nil {
		return nil, fmt.Errorf("making a machine: %w", err)
	}
	return made, nil
}

func (m *Maker) make() (*Machine, error) {
	if err := m.changeSeed(); err != nil {
		return nil, fmt.Errorf("changing the seed of endorsement keys: %w", err)
	}
	made := &Machine{maker: m, fixed: protocol.Request{Version: protocol.Version, PCRs: m.pcrs, EventLog: m.log}}
	endorsement, err := m.primary(tpm2.TPMRHEndorsement, ek.Profiles[0].Public)
	if err != nil {
		return nil, err
	}
	if err := m.flush(endorsement.ObjectHandle); err != nil {
		return nil, err
	}
	area, err := endorsement.OutPublic.Contents()
	if err != nil {
		return nil, err
	}
	public, err := tpm2.Pub(*area)
	if err != nil {
		return nil, err
	}
	certificate, err := m.certify(public)
	if err != nil {
		return nil, fmt.Errorf("certifying the endorsement key: %w", err)
	}
	made.fixed.EK, made.fixed.EKCertificates = endorsement.OutPublic.Bytes(), [][]byte{certificate}
	return made, m.keys(made)
}

// keys makes those of a boot.
func (m *Maker) keys(made *Machine) error {
	ak, err := m.primary(tpm2.TPMRHNull, tpm.Template(true))
	if err != nil {
		return err
	}
	defer m.flush(ak.ObjectHandle)
	key, err := m.primary(tpm2.TPMRHNull, tpm.Template(false))
	if err != nil {
		return err
	}
	defer m.flush(key.ObjectHandle)
	certified, err := tpm2.Certify{
		ObjectHandle: auth(key.ObjectHandle, key.Name), SignHandle: auth(ak.ObjectHandle, ak.Name),
		InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
	}.Execute(m.tpm)
	if err != nil {
		return err
	}
	saved, err := tpm2.ContextSave{SaveHandle: ak.ObjectHandle}.Execute(m.tpm)
	if err != nil {
		return err
	}
	made.ak, made.akName = saved.Context, ak.Name
	made.fixed.AK, made.fixed.TLSKey = ak.OutPublic.Bytes(), key.OutPublic.Bytes()
	made.fixed.TLSKeyCertification = protocol.Signed{Attest: certified.CertifyInfo.Bytes(), Signature: tpm2.Marshal(certified.Signature)}
	return nil
}

// changeSeed is TPM2_ChangeEPS (TPM 2.0 Library, part 3), which go-tpm does not have: from then on the TPM is
// another one to everybody who knows it by its endorsement key.
func (m *Maker) changeSeed() error {
	command := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTSessions))
	command = binary.BigEndian.AppendUint32(command, 27) // its size
	command = binary.BigEndian.AppendUint32(command, uint32(tpm2.TPMCCChangeEPS))
	command = binary.BigEndian.AppendUint32(command, uint32(tpm2.TPMRHPlatform))
	command = binary.BigEndian.AppendUint32(command, 9) // of the authorization: an empty password
	command = binary.BigEndian.AppendUint32(command, uint32(tpm2.TPMRSPW))
	command = append(command, 0, 0, 0, 0, 0)
	answer, err := m.tpm.Send(command)
	if err != nil {
		return err
	}
	if len(answer) < 10 {
		return errors.New("the TPM's answer is too short")
	}
	if code := tpm2.TPMRC(binary.BigEndian.Uint32(answer[6:])); code != tpm2.TPMRCSuccess {
		return code
	}
	return nil
}

func (m *Maker) primary(hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic) (*tpm2.CreatePrimaryResponse, error) {
	return tpm2.CreatePrimary{PrimaryHandle: auth(hierarchy, tpm2.HandleName(hierarchy)), InPublic: tpm2.New2B(template)}.Execute(m.tpm)
}

func auth(h tpm2.TPMHandle, name tpm2.TPM2BName) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: h, Name: name, Auth: tpm2.PasswordAuth(nil)}
}

func (m *Maker) flush(h tpm2.TPMHandle) error {
	_, err := tpm2.FlushContext{FlushHandle: h}.Execute(m.tpm)
	return err
}

// claims is what all machines say of themselves.
var claims = json.RawMessage(`{"image":"load","vendor":"Ember","model":"load generator"}`)

// unsigned is a request without a quote, as long as one with: what a server answers with a challenge.
func (m *Machine) unsigned() ([]byte, error) {
	r := m.fixed
	r.Claims = claims
	r.HPKEKey = make([]byte, hpkeSize)
	r.Quote = protocol.Signed{Attest: make([]byte, quoteSize), Signature: make([]byte, signatureSize)}
	return json.Marshal(&r)
}

// Sizes in bytes of what unsigned leaves empty.
const (
	hpkeSize      = 1216 // of MLKEM768X25519
	quoteSize     = 145
	signatureSize = 72
)

// request is a request with a quote by the TPM, which is bound to nonce. Shown is what it says of the nonce.
func (m *Machine) request(nonce, shown []byte) ([]byte, error) {
	key, err := protocol.GenerateKey()
	if err != nil {
		return nil, err
	}
	r := m.fixed
	r.Claims, r.HPKEKey, r.Nonce = claims, key.PublicKey().Bytes(), shown
	if r.Quote, err = m.quote(r.Binding(nonce)); err != nil {
		return nil, fmt.Errorf("quoting: %w", err)
	}
	return json.Marshal(&r)
}

func (m *Machine) quote(binding []byte) (protocol.Signed, error) {
	m.maker.mu.Lock()
	defer m.maker.mu.Unlock()
	loaded, err := tpm2.ContextLoad{Context: m.ak}.Execute(m.maker.tpm)
	if err != nil {
		return protocol.Signed{}, err
	}
	quoted, err := tpm2.Quote{
		SignHandle:     auth(loaded.LoadedHandle, m.akName),
		QualifyingData: tpm2.TPM2BData{Buffer: binding},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{0xff, 0xff, 0}}}},
	}.Execute(m.maker.tpm)
	if err := errors.Join(err, m.maker.flush(loaded.LoadedHandle)); err != nil {
		return protocol.Signed{}, err
	}
	return protocol.Signed{Attest: quoted.Quoted.Bytes(), Signature: tpm2.Marshal(quoted.Signature)}, nil
}
