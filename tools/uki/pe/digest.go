package pe

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// Digest is the Authenticode SHA-256: what signatures sign, and what firmware
// extends PCR 4 with before it starts the image. It leaves out the checksum, the
// signatures and where they are, so it is the same before and after signing. A
// file whose length is not a multiple of 8 is padded by whoever signs it, which
// changes it; [AddSections] makes none.
func (i *Image) Digest() ([sha256.Size]byte, error) {
	h := sha256.New()
	checksum := i.optional + checksumAt
	h.Write(i.data[:checksum])
	if i.dirs <= securityDir {
		h.Write(i.data[checksum+4 : i.headers])
	} else {
		h.Write(i.data[checksum+4 : i.securityAt()])
		h.Write(i.data[i.securityAt()+dirSize : i.headers])
	}

	sections := slices.Clone(i.Sections)
	slices.SortStableFunc(sections, func(a, b Section) int { return cmp.Compare(a.Offset, b.Offset) })
	done := uint64(i.headers)
	for _, s := range sections {
		if s.Size == 0 {
			continue
		}
		if uint64(s.Offset) != done {
			return [sha256.Size]byte{}, fmt.Errorf("digesting a UEFI program: section %q begins at %d, not where the part before it ends, at %d", s.Name, s.Offset, done)
		}
		h.Write(i.data[s.Offset:][:s.Size])
		done += uint64(s.Size)
	}
	end, _, err := i.certificates()
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	if done > uint64(end) {
		return [sha256.Size]byte{}, errors.New("digesting a UEFI program: its signatures lie in a section")
	}
	h.Write(i.data[done:end])
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// checksum is what belongs into the header's field of that name, which is taken for
// zero: the sum of all 16-bit words, carries added back, and the file's length.
func checksum(data []byte, field int) uint32 {
	var sum uint32
	for at := 0; at < len(data); at += 2 {
		if at == field || at == field+2 {
			continue
		}
		word := uint32(data[at])
		if at+1 < len(data) {
			word |= uint32(data[at+1]) << 8
		}
		sum += word
		sum = sum&0xffff + sum>>16
	}
	return sum + uint32(len(data))
}
