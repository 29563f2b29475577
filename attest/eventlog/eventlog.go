// Package eventlog reads what a machine's firmware, and what it started, have extended PCRs with: the
// crypto-agile log of the TCG PC Client Platform Firmware Profile 1.05, 10.2, of which it takes the SHA-256
// digests.
//
// Nothing of a log is true but what [Replay] compares with the TPM's PCRs: then the digests are, and their
// order within a PCR. Types and data of events are only told. It is for machines, which have read the log from
// their own kernel; the server's side is in package attest/verify.
package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Types of events (the same, 10.4.1).
const (
	NoAction        = 0x00000003 // nothing is extended
	Separator       = 0x00000004
	EventTag        = 0x00000006
	BootApplication = 0x80000003 // a program of the firmware's boot manager, or that such a one has loaded
	Authority       = 0x800000e0 // what a program's signature was found good by
)

// Event is one of the log. Data is a part of it.
type Event struct {
	PCR    int
	Type   uint32
	Digest [sha256.Size]byte
	Data   []byte
}

const (
	algSHA256 = 0x000b
	maxPCR    = 23
)

var spec = []byte("Spec ID Event03\x00")

var errCut = errors.New("it is cut short")

// Parse reads a log. It may end anywhere behind an event, and with zeros: firmware reserves more than it
// writes.
func Parse(log []byte) ([]Event, error) {
	events, err := parse(log)
	if err != nil {
		return nil, fmt.Errorf("reading the event log: %w", err)
	}
	return events, nil
}

func parse(log []byte) ([]Event, error) {
	r := reader{log}
	r.take(4 + 4 + 20) // PCR, type and a digest of zeros
	head := r.sized()
	if r.rest == nil {
		return nil, errCut
	}
	sizes, err := algorithms(head)
	if err != nil {
		return nil, err
	}
	var events []Event
	for len(bytes.TrimLeft(r.rest, "\x00")) > 0 {
		e := Event{PCR: int(r.u32()), Type: r.u32()}
		n, has := r.u32(), false
		if n > uint32(len(sizes)) {
			return nil, fmt.Errorf("event %d has %d digests, and the log names %d algorithms", len(events), n, len(sizes))
		}
		for range n {
			alg := r.u16()
			size, ok := sizes[alg]
			if !ok {
				return nil, fmt.Errorf("event %d has a digest of the algorithm %#x, which the log does not name", len(events), alg)
			}
			digest := r.take(size)
			if alg == algSHA256 && digest != nil {
				e.Digest, has = [sha256.Size]byte(digest), true
			}
		}
		e.Data = r.sized()
		switch {
		case r.rest == nil:
			return nil, errCut
		case e.PCR > maxPCR && e.Type != NoAction:
			return nil, fmt.Errorf("event %d is of PCR %d", len(events), e.PCR)
		case e.Type == NoAction:
			continue
		case !has:
			return nil, fmt.Errorf("event %d has no SHA-256 digest", len(events))
		}
		events = append(events, e)
	}
	return events, nil
}

// algorithms reads the first event, which names the digests that the others have.
func algorithms(event []byte) (map[uint16]int, error) {
	r := reader{event}
	if !bytes.Equal(r.take(len(spec)), spec) {
		return nil, errors.New("it does not begin as one of a TPM 2.0")
	}
	r.take(4 + 4) // platform class, version, errata, size of UINTN
	sizes := map[uint16]int{}
	for range min(r.u32(), 16) {
		alg, size := r.u16(), r.u16()
		sizes[alg] = int(size)
	}
	if size, ok := sizes[algSHA256]; r.rest == nil || !ok || size != sha256.Size {
		return nil, errors.New("it has no SHA-256 digests; enable that bank in the firmware's setup")
	}
	return sizes, nil
}

// Replay is the value of a PCR after its events, from zero. PCR 0 may begin with another value, which this
// does not know.
func Replay(events []Event, pcr int) (value [sha256.Size]byte) {
	for _, e := range events {
		if e.PCR == pcr {
			value = Extend(value, e.Digest)
		}
	}
	return value
}

// Extend is the value of a PCR after one more event.
func Extend(value, digest [sha256.Size]byte) [sha256.Size]byte {
	return sha256.Sum256(append(value[:], digest[:]...))
}

// reader takes little-endian fields from the front; its rest is nil once there were too few bytes.
type reader struct{ rest []byte }

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.rest = nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) sized() []byte { return r.take(int(r.u32())) }
