package attesttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// Types of events (TCG PC Client Platform Firmware Profile, 10.4.1).
const (
	NoAction    = 0x00000003
	Separator   = 0x00000004
	Action      = 0x00000005
	CRTMVersion = 0x00000008
	IPL         = 0x0000000d
	Application = 0x80000003
	Variable    = 0x80000001
	FirmwareVol = 0x80000008
)

// Event is something that firmware measures.
type Event struct {
	PCR  int
	Type uint32
	Data []byte
	// Digest is SHA-256 of Data if it is nil.
	Digest []byte
}

func (e Event) digest() []byte {
	if e.Digest != nil {
		return e.Digest
	}
	sum := sha256.Sum256(e.Data)
	return sum[:]
}

// Log writes events as a crypto-agile log with SHA-256 only (the same, 10.2).
func Log(events ...Event) []byte {
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			binary.Write(&b, binary.LittleEndian, v)
		}
	}
	put(uint32(0), uint32(NoAction), make([]byte, 20), uint32(33))
	// TCG_EfiSpecIDEvent: signature, class, version 2.0, errata, UINTN in 32-bit words, algorithms, vendor's bytes
	put([]byte("Spec ID Event03\x00"), uint32(0), []byte{0, 2, 0, 2}, uint32(1), uint16(tpm2.TPMAlgSHA256), uint16(32), byte(0))
	for _, e := range events {
		put(uint32(e.PCR), e.Type, uint32(1), uint16(tpm2.TPMAlgSHA256), e.digest(), uint32(len(e.Data)), e.Data)
	}
	return b.Bytes()
}

// Boot measures events into the TPM and gives their log.
func (p *TPM) Boot(events ...Event) []byte {
	p.t.Helper()
	for _, e := range events {
		if e.Type == NoAction {
			continue
		}
		if err := p.Extend(e.PCR, e.digest()); err != nil {
			p.t.Fatal(err)
		}
	}
	return Log(events...)
}

// Extend extends a PCR of the SHA-256 bank.
func (p *TPM) Extend(pcr int, digest []byte) error {
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: digest}}},
	}.Execute(p)
	if err != nil {
		return fmt.Errorf("extending PCR %d: %w", pcr, err)
	}
	return nil
}

// Firmware is about what a machine measures until Linux runs: a hundred events in PCRs 0 to 7 and 9, and what
// a stub measures into PCR 11.
func Firmware() []Event {
	events := []Event{{PCR: 0, Type: CRTMVersion, Data: []byte("1\x00.\x000\x00")}}
	add := func(pcr int, kind uint32, n, size int) {
		for i := range n {
			data := bytes.Repeat([]byte(fmt.Sprintf("%d/%d ", pcr, i)), size/4+1)[:size]
			events = append(events, Event{PCR: pcr, Type: kind, Data: data})
		}
	}
	add(0, FirmwareVol, 3, 16)
	add(7, Variable, 5, 1500)
	add(1, Variable, 40, 300)
	add(2, FirmwareVol, 6, 64)
	for pcr := range 8 {
		events = append(events, Event{PCR: pcr, Type: Separator, Data: make([]byte, 4)})
	}
	add(4, Action, 2, 40)
	add(4, Application, 3, 180)
	add(5, Variable, 6, 200)
	add(9, IPL, 8, 120)
	add(11, IPL, 10, 60)
	add(1, Variable, 12, 300)
	return events
}
