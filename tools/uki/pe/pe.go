// Package pe reads the programs of UEFI firmware, PE32+ images, adds sections to
// them, and computes the digest that Secure Boot's signatures are made of and that
// firmware measures.
//
// It follows Microsoft's "PE Format" and "Windows Authenticode Portable Executable
// Signature Format" 1.0. What a boot needs no image to have is refused rather than
// interpreted: PE32, symbols in an image that gets sections, data behind a signature.
package pe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Where the fields are: in the DOS header, behind the signature "PE\0\0" (COFF
// header), and in the optional header of PE32+.
const (
	dosSize     = 64
	peOffsetAt  = 60
	signature   = "PE\x00\x00"
	coffSize    = 20
	machineAt   = 0
	countAt     = 2
	symbolsAt   = 8
	optSizeAt   = 16
	magicPE32   = 0x10b
	magic       = 0x20b
	initDataAt  = 8
	sectAlignAt = 32
	fileAlignAt = 36
	imageSizeAt = 56
	headersAt   = 60
	checksumAt  = 64
	subsystemAt = 68
	dirCountAt  = 108
	dirsAt      = 112
	dirSize     = 8
	securityDir = 4
	entrySize   = 40 // of the section table
	maxSections = 96
)

// Machine is the processor that an image is for.
type Machine uint16

// The machines that Ember knows.
const (
	AMD64 Machine = 0x8664
	ARM64 Machine = 0xaa64
)

func (m Machine) String() string {
	switch m {
	case AMD64:
		return "amd64"
	case ARM64:
		return "arm64"
	}
	return fmt.Sprintf("machine %#04x", uint16(m))
}

// efiApplication is the only subsystem that boots.
const efiApplication = 10

// Section is an entry of the section table. All numbers are bytes.
type Section struct {
	Name    string
	Address uint32 // where it is in memory, from the start of the image
	Memory  uint32 // its length there
	Offset  uint32 // where it is in the file
	Size    uint32 // its length there: padded, or 0 for zeros
}

// Image is a parsed image. It refers to the bytes that it was parsed from.
type Image struct {
	Machine  Machine
	Sections []Section // in the order of the table

	data                 []byte
	coff, optional, dirs int // offsets in data; dirs is how many data directories there are
	table                int
	sectAlign, fileAlign uint32
	headers              uint32 // SizeOfHeaders
}

// Parse reads the headers of an image and checks that all that they name lies in it.
func Parse(data []byte) (*Image, error) {
	i, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading a UEFI program: %w", err)
	}
	return i, nil
}

func parse(data []byte) (*Image, error) {
	if len(data) < dosSize || string(data[:2]) != "MZ" {
		return nil, errors.New("it does not begin like one, with MZ")
	}
	if uint64(len(data)) > 1<<32-1 {
		return nil, errors.New("it is larger than 4 GiB")
	}
	i := &Image{data: data}
	start := uint64(u32(data, peOffsetAt))
	if start+uint64(len(signature))+coffSize > uint64(len(data)) || !bytes.HasPrefix(data[start:], []byte(signature)) {
		return nil, errors.New("it has no PE header")
	}
	i.coff = int(start) + len(signature)
	i.optional = i.coff + coffSize
	optionalSize := int(u16(data, i.coff+optSizeAt))
	i.table = i.optional + optionalSize
	if i.table > len(data) || optionalSize < dirsAt {
		return nil, errors.New("its optional header is cut off")
	}
	if err := i.readOptional(optionalSize); err != nil {
		return nil, err
	}
	if err := i.readSections(); err != nil {
		return nil, err
	}
	_, _, err := i.certificates()
	return i, err
}

func (i *Image) readOptional(size int) error {
	o := i.data[i.optional:i.table]
	switch m := u16(o, 0); m {
	case magic:
	case magicPE32:
		return errors.New("it is for a 32-bit machine")
	default:
		return fmt.Errorf("its optional header has the unknown type %#x", m)
	}
	if s := u16(o, subsystemAt); s != efiApplication {
		return fmt.Errorf("it is not for UEFI firmware, but for subsystem %d", s)
	}
	dirs := u32(o, dirCountAt)
	if uint64(dirsAt)+uint64(dirs)*dirSize > uint64(size) {
		return fmt.Errorf("its optional header of %d bytes has no room for %d data directories", size, dirs)
	}
	i.dirs = int(dirs)
	i.Machine = Machine(u16(i.data, i.coff+machineAt))
	i.sectAlign, i.fileAlign, i.headers = u32(o, sectAlignAt), u32(o, fileAlignAt), u32(o, headersAt)
	if bits.OnesCount32(i.fileAlign) != 1 || bits.OnesCount32(i.sectAlign) != 1 || i.sectAlign < i.fileAlign {
		return fmt.Errorf("its sections are aligned to %d bytes in memory and %d in the file, which cannot be", i.sectAlign, i.fileAlign)
	}
	return nil
}

func (i *Image) readSections() error {
	n := int(u16(i.data, i.coff+countAt))
	if n == 0 || n > maxSections {
		return fmt.Errorf("it has %d sections; from 1 to %d can be", n, maxSections)
	}
	if end := i.table + n*entrySize; end > int(i.headers) || uint64(i.headers) > uint64(len(i.data)) {
		return fmt.Errorf("its headers of %d bytes do not hold the table of %d sections", i.headers, n)
	}
	for k := range n {
		e := i.data[i.table+k*entrySize:]
		s := Section{
			Name:   string(bytes.TrimRight(e[:8], "\x00")),
			Memory: u32(e, 8), Address: u32(e, 12), Size: u32(e, 16), Offset: u32(e, 20),
		}
		if s.Size > 0 && (s.Offset < i.headers || uint64(s.Offset)+uint64(s.Size) > uint64(len(i.data))) {
			return fmt.Errorf("section %q, %d bytes at %d, is not between its headers and its end", s.Name, s.Size, s.Offset)
		}
		i.Sections = append(i.Sections, s)
	}
	return nil
}

// Section is what the first section of a name holds, without padding, and whether
// there is one.
func (i *Image) Section(name string) ([]byte, bool) {
	for _, s := range i.Sections {
		switch {
		case s.Name != name:
		case s.Size == 0:
			return nil, true
		default:
			return i.data[s.Offset:][:min(s.Memory, s.Size)], true
		}
	}
	return nil, false
}

// Signed says whether the image carries signatures; whose, and whether they are
// good, is not looked at.
func (i *Image) Signed() bool {
	_, size, _ := i.certificates()
	return size > 0
}

// certificates is where the table of signatures is in the file, and its size; with
// none it is at the file's end.
func (i *Image) certificates() (offset, size int, err error) {
	if i.dirs <= securityDir {
		return len(i.data), 0, nil
	}
	at := i.securityAt()
	off, n := uint64(u32(i.data, at)), uint64(u32(i.data, at+4))
	if n == 0 {
		return len(i.data), 0, nil
	}
	if off < uint64(i.headers) || off+n != uint64(len(i.data)) {
		return 0, 0, fmt.Errorf("its signatures, %d bytes at %d, are not its end", n, off)
	}
	return int(off), int(n), nil
}

func (i *Image) securityAt() int { return i.optional + dirsAt + securityDir*dirSize }

func u16(b []byte, at int) uint16        { return binary.LittleEndian.Uint16(b[at:]) }
func u32(b []byte, at int) uint32        { return binary.LittleEndian.Uint32(b[at:]) }
func put32(b []byte, at int, v uint32)   { binary.LittleEndian.PutUint32(b[at:], v) }
func put16(b []byte, at int, v uint16)   { binary.LittleEndian.PutUint16(b[at:], v) }
func alignUp(n uint64, to uint32) uint64 { return (n + uint64(to) - 1) &^ (uint64(to) - 1) }
