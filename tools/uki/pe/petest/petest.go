// Package petest makes small UEFI programs for tests, in the shape that linkers
// give them. They do nothing.
package petest

import (
	"bytes"
	"encoding/binary"
)

// Options describe a program. The zero value is a good one for amd64 with no section.
type Options struct {
	Machine     uint16      // 0x8664, amd64, if 0
	Headers     uint32      // their size in bytes, a multiple of 512; 1024 if 0
	Directories uint32      // how many data directories there are; 16 if 0
	Sections    [][2]string // name, content
}

// Where fields are in a program made here.
const (
	COFF     = 68        // the COFF header
	Optional = COFF + 20 // the optional header

	fileAlignment, sectionAlignment = 512, 4096
)

// Image makes a program.
func Image(o Options) []byte {
	if o.Machine == 0 {
		o.Machine = 0x8664
	}
	if o.Headers == 0 {
		o.Headers = 1024
	}
	if o.Directories == 0 {
		o.Directories = 16
	}
	var b bytes.Buffer
	put := func(fields ...any) {
		for _, f := range fields {
			binary.Write(&b, binary.LittleEndian, f) // a buffer takes everything
		}
	}
	pad := func(size int) { b.Write(make([]byte, size)) }
	b.WriteString("MZ")
	pad(58)
	put(uint32(COFF-4), []byte("PE\x00\x00"))
	put(o.Machine, uint16(len(o.Sections)), uint32(0), uint32(0), uint32(0), uint16(112+8*o.Directories), uint16(0x22e))

	var initialised uint32
	for _, s := range o.Sections {
		initialised += up(len(s[1]), fileAlignment)
	}
	put(uint16(0x20b), uint16(0), uint32(0), initialised, uint32(0), uint32(sectionAlignment), uint32(sectionAlignment))
	put(uint64(1<<32), uint32(sectionAlignment), uint32(fileAlignment), uint32(0), uint32(0), uint32(0), uint32(0))
	put(address(o.Sections, len(o.Sections)), o.Headers, uint32(0), uint16(10), uint16(0x160))
	put(uint64(1<<20), uint64(4096), uint64(1<<20), uint64(4096), uint32(0), o.Directories)
	pad(8 * int(o.Directories))

	offset := o.Headers
	for i, s := range o.Sections {
		var name [8]byte
		copy(name[:], s[0])
		size := up(len(s[1]), fileAlignment)
		put(name, uint32(len(s[1])), address(o.Sections, i), size, offset, uint64(0), uint32(0), uint32(0x60000020))
		offset += size
	}
	pad(int(o.Headers) - b.Len())
	for _, s := range o.Sections {
		b.WriteString(s[1])
		pad(-len(s[1]) & (fileAlignment - 1))
	}
	return b.Bytes()
}

// address is where section i begins in memory; behind the last it is the image's size.
func address(sections [][2]string, i int) uint32 {
	at := uint32(sectionAlignment)
	for _, s := range sections[:i] {
		at += up(len(s[1]), sectionAlignment)
	}
	return at
}

func up(n int, to uint32) uint32 { return (uint32(n) + to - 1) &^ (to - 1) }
