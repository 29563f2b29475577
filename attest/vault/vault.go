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
	"errors"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/tpm"
)

// Index is the counter's handle, of those that are the owner's to give.
const Index tpm2.TPMHandle = 0x01c2454d

// The reasons that callers tell apart. Those of package attest/tpm come too.
var (
	ErrPCRs     = errors.New("this boot has not measured what the secret was sealed for")
	ErrRaised   = errors.New("the secret is of before the counter was raised")
	ErrForeign  = errors.New("the secret was sealed by another TPM, or before this one was cleared")
	ErrBlob     = errors.New("it is no sealed secret, or a damaged one")
	ErrOwner    = errors.New("the TPM's owner hierarchy has a password; clear the TPM in the firmware's setup")
	ErrFull     = errors.New("the TPM has no room for a counter; remove NV indices that nobody needs, or clear the TPM in the firmware's setup")
	ErrOccupied = errors.New("NV index 0x1c2454d of the TPM is somebody else's; remove it, or clear the TPM in the firmware's setup")
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
func Seal(t transport.TPM, secret []byte, p Policy) ([]byte, error) { return nil, errors.ErrUnsupported }

// Unseal gives the secret of a blob.
func Unseal(t transport.TPM, blob []byte) ([]byte, error) { return nil, errors.ErrUnsupported }

// Under tells whether a blob was sealed under a policy. It does not ask the TPM, which may be another one.
func Under(blob []byte, p Policy) bool { return false }

// Count is the counter's value. The counter is defined if it is not there yet.
func Count(t transport.TPM) (uint64, error) { return 0, errors.ErrUnsupported }

// Raise adds one to the counter, or more where it was not there, and gives its value: what was sealed until less can
// not be had any more.
func Raise(t transport.TPM) (uint64, error) { return 0, errors.ErrUnsupported }
