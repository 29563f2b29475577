// Package state is what a machine knows of the two slots that keep a system it can boot without a network: two
// records of 512 bytes, of which a write replaces the older one, so that a power cut leaves the newer one.
//
// A record, all numbers little-endian:
//
//	  0   8  "EMBERLKG"
//	  8   2  version of this layout: 1
//	 10   1  the good slot: 0 none, 1 A, 2 B
//	 11   1  1 if the resets are those of a TPM, else 0
//	 12   4  the TPM's resetCount at the last success
//	 16   8  sequence number, from 1: the record with the larger one counts
//	 24   4  attempts since the last success, where there is no TPM to count them
//	 28   4  0
//	 32   8  time of the last success, in seconds since 1970 (signed); 0 for never
//	 40   8  version of the overlay that the good slot was healthy with; 0 for none
//	 48   8  size of the system in slot A, in bytes; 0 if the slot was never written
//	 56  32  its SHA-256
//	 88  40  the same of the configuration in slot A; 0 if there is none
//	128  80  both of slot B
//	208 300  0
//	508   4  CRC-32 (IEEE 802.3) of what is before it
package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// Size of a record in bytes: what every disk writes as a whole or not at all.
const Size = 512

const (
	magic  = "EMBERLKG"
	layout = 1
	crcAt  = Size - 4

	imagesAt  = 48
	imageSize = 40

	tpmFlag = 1
)

// Slot is one of the two places.
type Slot uint8

// The slots.
const (
	None Slot = iota
	A
	B
)

func (s Slot) String() string {
	if s > B {
		return "?"
	}
	return [...]string{"none", "a", "b"}[s]
}

// Other is the slot that s is not. Of None it is A.
func (s Slot) Other() Slot {
	if s == A {
		return B
	}
	return A
}

// Image is a file.
type Image struct {
	Size   int64 // bytes; 0 for none
	SHA256 [32]byte
}

// Content is what a slot holds.
type Content struct {
	System Image // the kernel, the initrd and the command line, in one EFI program
	Config Image // the overlay, with what opens it
}

// Record is the state.
type Record struct {
	Sequence uint64
	Good     Slot
	Slots    [2]Content
	Overlay  uint64    // the good slot's
	Success  time.Time // the last one; zero for never

	TPM      bool   // Resets is known
	Resets   uint32 // resetCount at the last success
	Attempts uint32 // since then, where there is no TPM
}

// Content is that of a slot, zero for None.
func (r Record) Content(s Slot) Content {
	if s == None {
		return Content{}
	}
	return r.Slots[s-A]
}

// Failures is the number of boots since the last success. resets is the TPM's resetCount now; has tells whether
// there is one. A TPM that counts from the beginning, because it was replaced, is like none.
func (r Record) Failures(resets uint32, has bool) uint32 {
	if has && r.TPM && resets >= r.Resets {
		return resets - r.Resets
	}
	return r.Attempts
}

// Encode gives the record's bytes.
func (r Record) Encode() [Size]byte {
	var b [Size]byte
	le := binary.LittleEndian
	copy(b[:], magic)
	le.PutUint16(b[8:], layout)
	b[10] = byte(r.Good)
	if r.TPM {
		b[11] = tpmFlag
	}
	le.PutUint32(b[12:], r.Resets)
	le.PutUint64(b[16:], r.Sequence)
	le.PutUint32(b[24:], r.Attempts)
	if !r.Success.IsZero() {
		le.PutUint64(b[32:], uint64(r.Success.Unix()))
	}
	le.PutUint64(b[40:], r.Overlay)
	for i, m := range r.images() {
		at := b[imagesAt+imageSize*i:]
		le.PutUint64(at, uint64(m.Size))
		copy(at[8:imageSize], m.SHA256[:])
	}
	le.PutUint32(b[crcAt:], crc32.ChecksumIEEE(b[:crcAt]))
	return b
}

// What is wrong with a record.
var (
	ErrBlank = errors.New("it was never written")
	ErrSum   = errors.New("its checksum is wrong")
	ErrOther = errors.New("it is of another version of Ember, or of something else")
)

// Decode reads a record. What is not exactly as Encode writes it is an error.
func Decode(b [Size]byte) (Record, error) {
	le := binary.LittleEndian
	switch {
	case b == [Size]byte{}:
		return Record{}, ErrBlank
	case le.Uint32(b[crcAt:]) != crc32.ChecksumIEEE(b[:crcAt]):
		return Record{}, ErrSum
	case !bytes.HasPrefix(b[:], []byte(magic)) || le.Uint16(b[8:]) != layout:
		return Record{}, ErrOther
	}
	r := Record{
		Sequence: le.Uint64(b[16:]),
		Good:     Slot(b[10]),
		Overlay:  le.Uint64(b[40:]),
		TPM:      b[11] == tpmFlag,
		Resets:   le.Uint32(b[12:]),
		Attempts: le.Uint32(b[24:]),
	}
	if seconds := int64(le.Uint64(b[32:])); seconds != 0 {
		r.Success = time.Unix(seconds, 0).UTC()
	}
	valid := r.Good <= B && r.Sequence > 0
	for i, m := range r.images() {
		at := b[imagesAt+imageSize*i:]
		m.Size = int64(le.Uint64(at))
		copy(m.SHA256[:], at[8:])
		valid = valid && m.Size >= 0
	}
	if !valid || r.Good != None && r.Content(r.Good).System.Size == 0 || r.Encode() != b {
		return Record{}, ErrOther
	}
	return r, nil
}

func (r *Record) images() [4]*Image {
	a, b := &r.Slots[0], &r.Slots[1]
	return [...]*Image{&a.System, &a.Config, &b.System, &b.Config}
}
