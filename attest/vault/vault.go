// Package vault keeps a small secret with a machine's TPM 2.0: it can be had only in a boot that has measured what it
// was meant for, and only until a counter in the TPM is raised, which nothing lowers again.
//
// The secret is in a blob that anybody may see. The blob is a sealed object whose policy is
//
//	PolicyPCR(one of up to eight sets of values, SHA-256) and PolicyNV(counter <= a number)
//
// Seal takes the values and does not read the PCRs: the boot that seals is another one than that which unseals.
//
// The parent of the object is a P-256 storage key that is made anew from a fixed template each time, in the owner's
// hierarchy with an empty password, so nothing but the counter is persistent. It is the same key after each reset,
// and another one after the TPM was cleared. Where the owner has a password nothing can be sealed or unsealed
// (ErrOwner): that password is nobody's to be on a machine that has to come up alone.
//
// The counter is the NV index Index. It has an empty password, and so has the object: whoever may use the TPM may
// raise it, which destroys what was sealed, as deleting the blob does. Whoever deletes the index and makes it again
// finds it above its old value: a TPM starts a counter above the largest value that any of its counters has ever had.
// An index of another kind has another name, which is in the policy.
//
// Neither is subject to the dictionary-attack protection (noDA), so it all works during a lockout. Commands are sent
// again as in package attest/tpm. Nothing is left in the TPM when it is cut off in the middle, but perhaps the
// counter.
package vault

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/tpm"
)

// Index is the counter's handle, of those that are the owner's to give.
const Index tpm2.TPMHandle = 0x0182454d

// The reasons that callers tell apart. Those of package attest/tpm come too.
var (
	ErrPCRs     = errors.New("this boot has not measured what the secret was sealed for")
	ErrRaised   = errors.New("the secret is of before the counter was raised")
	ErrForeign  = errors.New("the secret was sealed by another TPM, or before this one was cleared, or is damaged")
	ErrBlob     = errors.New("it is no sealed secret, or a damaged one")
	ErrOwner    = errors.New("the TPM's owner hierarchy has a password; clear the TPM in the firmware's setup")
	ErrFull     = errors.New("the TPM has no room for a counter; remove NV indices that nobody needs, or clear the TPM in the firmware's setup")
	ErrOccupied = errors.New("NV index 0x182454d of the TPM is somebody else's; remove it, or clear the TPM in the firmware's setup")
	ErrLockout  = errors.New("the TPM is locked because of wrong passwords; wait, or clear it in the firmware's setup")
)

// MaxBoots is how many sets of values a policy may have.
const MaxBoots = 8

// MaxSecret is the size of the largest secret, in bytes.
const MaxSecret = 128

// Policy says when a secret can be had.
type Policy struct {
	Boots []tpm.PCRs // when the PCRs have one of these values; all are of the same PCRs
	Until uint64     // and the counter is not above this
}

// Seal gives the blob of a secret. The counter is defined if it is not there yet.
func Seal(t transport.TPM, secret []byte, p Policy) ([]byte, error) {
	b, err := seal(tpm.Patient(t), secret, p)
	if err != nil {
		return nil, fmt.Errorf("sealing a secret: %w", explain(err))
	}
	return b, nil
}

func seal(t transport.TPM, secret []byte, p Policy) (_ []byte, err error) {
	if len(secret) == 0 || len(secret) > MaxSecret {
		return nil, fmt.Errorf("it has %d bytes, not 1 to %d", len(secret), MaxSecret)
	}
	b, err := p.blob()
	if err != nil {
		return nil, err
	}
	policy := b.policy()
	if _, err := count(t); err != nil {
		return nil, err
	}
	parent, err := storage(t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, flush(t, parent.Handle)) }()
	made, err := tpm2.Create{
		ParentHandle: parent,
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: secret}),
		}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true},
			AuthPolicy:       tpm2.TPM2BDigest{Buffer: policy[:]},
		}),
	}.Execute(t)
	if err != nil {
		return nil, err
	}
	b.public, b.private = made.OutPublic.Bytes(), made.OutPrivate.Buffer
	return b.encode()
}

// unsealTries is how often it is tried if something extends a PCR meanwhile, whichever.
const unsealTries = 5

// Unseal gives the secret of a blob.
func Unseal(t transport.TPM, blob []byte) ([]byte, error) {
	secret, err := unseal(tpm.Patient(t), blob)
	if err != nil {
		return nil, fmt.Errorf("unsealing a secret: %w", explain(err))
	}
	return secret, nil
}

func unseal(t transport.TPM, text []byte) (_ []byte, err error) {
	b, err := decode(text)
	if err != nil {
		return nil, err
	}
	parent, err := storage(t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, flush(t, parent.Handle)) }()
	loaded, err := tpm2.Load{
		ParentHandle: parent,
		InPrivate:    tpm2.TPM2BPrivate{Buffer: b.private},
		InPublic:     tpm2.BytesAs2B[tpm2.TPMTPublic](b.public),
	}.Execute(t)
	if fmt1, is := errors.AsType[tpm2.TPMFmt1Error](err); is {
		if parameter, _ := fmt1.Parameter(); parameter {
			return nil, fmt.Errorf("%w: %w", ErrForeign, err)
		}
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, flush(t, loaded.ObjectHandle)) }()
	for range unsealTries {
		var secret []byte
		secret, err = b.unseal(t, tpm2.NamedHandle{Handle: loaded.ObjectHandle, Name: loaded.Name})
		if !errors.Is(err, tpm2.TPMRCPCRChanged) {
			return secret, err
		}
	}
	return nil, err
}

// unseal fulfils the policy of a loaded object. What is wrong is found out before, where the TPM would not say it; the
// TPM decides.
func (b blob) unseal(t transport.TPM, object tpm2.NamedHandle) (_ []byte, err error) {
	values, err := tpm.ReadPCRs(t, b.pcrs()...)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(b.boots, pcrPolicy(values)) {
		return nil, ErrPCRs
	}
	there, err := find(t)
	if err != nil {
		return nil, err
	}
	if there != written {
		return nil, fmt.Errorf("%w: it is not there", ErrRaised)
	}
	session, end, err := tpm2.PolicySession(t, tpm2.TPMAlgSHA256, 16)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := b.fulfil(t, session.Handle()); err != nil {
		return nil, err
	}
	got, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: object.Handle, Name: object.Name, Auth: session}}.Execute(t)
	if errors.Is(err, tpm2.TPMRCPolicyFail) {
		return nil, fmt.Errorf("%w: %w", ErrBlob, err)
	}
	if err != nil {
		return nil, err
	}
	return got.OutData.Buffer, nil
}

// storage makes the parent: the TCG's storage key on P-256.
func storage(t transport.TPM) (tpm2.AuthHandle, error) {
	made, err := tpm2.CreatePrimary{PrimaryHandle: owner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(t)
	if err != nil {
		return tpm2.AuthHandle{}, password(err)
	}
	return tpm2.AuthHandle{Handle: made.ObjectHandle, Name: made.Name, Auth: tpm2.PasswordAuth(nil)}, nil
}

var owner = tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}

// password tells why an empty password of the owner's is wrong.
func password(err error) error {
	if errors.Is(err, tpm2.TPMRCBadAuth) || errors.Is(err, tpm2.TPMRCAuthFail) {
		return fmt.Errorf("%w: %w", ErrOwner, err)
	}
	return err
}

func explain(err error) error {
	if errors.Is(err, tpm2.TPMRCLockout) {
		return fmt.Errorf("%w: %w", ErrLockout, err)
	}
	return err
}

func flush(t transport.TPM, h tpm2.TPMHandle) error {
	_, err := tpm2.FlushContext{FlushHandle: h}.Execute(t)
	return err
}

type digest = [sha256.Size]byte
