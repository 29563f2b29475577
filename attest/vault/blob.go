package vault

import (
	"encoding/binary"
	"errors"
)

// A blob, all numbers big-endian, as a TPM has them:
//
//	 0   8  "EMBERSEA"
//	 8   1  version of this layout: 1
//	 9   1  number of sets of values, n, from 1 to 8
//	10   3  which PCRs: bit 0 of the first byte is PCR 0
//	13   8  the largest value of the counter
//	21 32n  for each set of values the digest that PolicyPCR makes of it
//	     2  length of the next
//	        TPMT_PUBLIC
//	     2  length of the next, which is all there is
//	        the contents of a TPM2B_PRIVATE
type blob struct {
	bits            [3]byte
	until           uint64
	boots           []digest
	public, private []byte
}

const (
	magic   = "EMBERSEA"
	layout  = 1
	headEnd = len(magic) + 1 + 1 + 3 + 8
	maxPart = 1024 // bytes of each of the TPM's two
	maxPCRs = 24
)

func (b blob) encode() ([]byte, error) {
	if len(b.public) > maxPart || len(b.private) > maxPart {
		return nil, errors.New("the TPM's object is larger than can be")
	}
	out := append([]byte(magic), layout, byte(len(b.boots)))
	out = append(out, b.bits[:]...)
	out = binary.BigEndian.AppendUint64(out, b.until)
	for _, d := range b.boots {
		out = append(out, d[:]...)
	}
	for _, part := range [][]byte{b.public, b.private} {
		out = binary.BigEndian.AppendUint16(out, uint16(len(part)))
		out = append(out, part...)
	}
	return out, nil
}

// decode reads what encode gives, and nothing else.
func decode(text []byte) (blob, error) {
	var b blob
	if len(text) < headEnd || string(text[:len(magic)]) != magic || text[8] != layout {
		return b, ErrBlob
	}
	n := int(text[9])
	b.bits, b.until = [3]byte(text[10:13]), binary.BigEndian.Uint64(text[13:headEnd])
	rest := text[headEnd:]
	if n == 0 || n > MaxBoots || b.bits == [3]byte{} || len(rest) < n*len(digest{}) {
		return b, ErrBlob
	}
	for range n {
		b.boots = append(b.boots, digest(rest))
		rest = rest[len(digest{}):]
	}
	for _, part := range []*[]byte{&b.public, &b.private} {
		if len(rest) < 2 {
			return b, ErrBlob
		}
		size := int(binary.BigEndian.Uint16(rest))
		if rest = rest[2:]; size > maxPart || size > len(rest) {
			return b, ErrBlob
		}
		*part, rest = rest[:size:size], rest[size:]
	}
	if len(rest) > 0 {
		return b, ErrBlob
	}
	return b, nil
}
