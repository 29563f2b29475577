package tpm

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Patience is how long a TPM may ask for another try of one command, on top of what the kernel waits.
const Patience = time.Minute

// The pauses between two tries of a command.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = time.Second
)

// patient sends one command at a time, and sends it again while the TPM asks for that. How long a TPM works
// on a command is not limited: the kernel does that.
type patient struct {
	t  transport.TPM
	mu sync.Mutex
}

// Patient is a TPM that sends a command again while the TPM asks for that, at most for Patience. It may be used by
// several at a time.
func Patient(t transport.TPM) transport.TPM { return patiently(t) }

func patiently(t transport.TPM) *patient {
	if p, ok := t.(*patient); ok {
		return p
	}
	return &patient{t: t}
}

// Send gives the answer, which is none of those that ask for another try. ErrVersion12, ErrFailure and ErrBusy
// stand for answers that are of no use to anybody.
func (p *patient) Send(command []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var waited time.Duration
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		response, err := p.t.Send(command)
		if err != nil {
			return nil, err
		}
		again, err := judge(response)
		if err != nil {
			return nil, err
		}
		if !again {
			return response, nil
		}
		if waited >= Patience {
			return nil, ErrBusy
		}
		time.Sleep(pause)
		waited += pause
	}
}

const (
	headerSize = 10     // TPM_ST, the size in 32 bits, TPM_RC
	tag12      = 0x00c4 // TPM_TAG_RSP_COMMAND, the tag of all that a TPM 1.2 answers
)

// judge reads a response's header: is the command to be sent again?
func judge(response []byte) (again bool, err error) {
	if len(response) < headerSize {
		return false, errors.New("the TPM's answer is cut short")
	}
	if binary.BigEndian.Uint16(response) == tag12 {
		return false, ErrVersion12
	}
	switch tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])) {
	case tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCNVRate:
		return true, nil
	case tpm2.TPMRCFailure:
		return false, ErrFailure
	}
	return false, nil
}
