package booted

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// initrdPCRs are those into which initrds are measured, each with the SHA-256 of its bytes: 9 by Linux's UEFI
// stub and by GRUB, 11 by systemd's stub.
var initrdPCRs = []uint32{9, 11}

// Of the TCG PC Client Platform Firmware Profile, 10.2.
const (
	sha256ID   = 0x000b
	noAction   = 3 // EV_NO_ACTION, of which nothing is measured
	signature  = "Spec ID Event03\x00"
	maxDigests = 16 // of an event
)

var errLog = errors.New("the firmware's event log is damaged")

// measured gives the SHA-256 digests of all events of initrdPCRs. There may be no log, and one of SHA-1 only, as
// of a TPM 1.2, has none.
func measured(log []byte) (all []Digest, err error) {
	if len(log) == 0 {
		return nil, nil
	}
	r := reader{rest: log}
	r.take(8 + 20) // PCR, type, SHA-1
	sizes, ok := algorithms(r.take(int(r.uint32())))
	if r.failed {
		return nil, errLog
	}
	if !ok {
		return nil, nil
	}
	for len(r.rest) > 0 {
		pcr, kind, count := r.uint32(), r.uint32(), r.uint32()
		if count > maxDigests {
			return nil, errLog
		}
		var digest []byte
		for range count {
			id := r.uint16()
			size, known := sizes[id]
			if !known {
				return nil, errLog
			}
			if d := r.take(size); id == sha256ID {
				digest = d
			}
		}
		r.take(int(r.uint32()))
		if r.failed {
			return nil, errLog
		}
		if kind != noAction && len(digest) == len(Digest{}) && slices.Contains(initrdPCRs, pcr) {
			all = append(all, Digest(digest))
		}
	}
	return all, nil
}

// algorithms reads the first event, which says how long the digests of each algorithm are.
func algorithms(first []byte) (sizes map[uint16]int, ok bool) {
	rest, ok := bytes.CutPrefix(first, []byte(signature))
	if !ok {
		return nil, false
	}
	r := reader{rest: rest}
	r.take(4 + 1 + 1 + 1 + 1) // class, version, errata, size of a word
	count := r.uint32()
	if count > maxDigests {
		return nil, false
	}
	sizes = map[uint16]int{}
	for range count {
		id := r.uint16()
		sizes[id] = int(r.uint16())
	}
	return sizes, !r.failed
}

// reader reads little-endian numbers. What it reads beyond the end is zero.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.rest, r.failed = nil, true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint16() uint16 {
	b := r.take(2)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint16(b)
}

func (r *reader) uint32() uint32 {
	b := r.take(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}
