// Package ovmf reads and writes the UEFI variables in a flash image of OVMF, while
// no machine runs with it: what a test wants to find there, or to be there first.
//
// The format is that of the authenticated variables of EDK II
// (MdeModulePkg/Include/Guid/VariableFormat.h) in the first firmware volume of
// OVMF_VARS_4M.fd.
package ovmf

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// GUID is a vendor's, in the byte order in which UEFI keeps it.
type GUID [16]byte

// ParseGUID reads the usual form, such as 8be4df61-93ca-11d2-aa0d-00e098032b8c.
func ParseGUID(s string) (GUID, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 || len(s) != 36 {
		return GUID{}, fmt.Errorf("%q is not a GUID", s)
	}
	g := GUID(b)
	for _, part := range [][]byte{g[:4], g[4:6], g[6:8]} { // the first three are little-endian
		for i, j := 0, len(part)-1; i < j; i, j = i+1, j-1 {
			part[i], part[j] = part[j], part[i]
		}
	}
	return g, nil
}

func mustGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}

// Global is the vendor of the variables that the UEFI specification names.
var Global = mustGUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")

// Attributes of variables.
const (
	NonVolatile       = 1 << 0
	BootAccess        = 1 << 1
	RuntimeAccess     = 1 << 2
	TimeAuthenticated = 1 << 5
)

// Variable is a UEFI variable.
type Variable struct {
	Name       string
	Vendor     GUID
	Attributes uint32
	Data       []byte
}

// Sizes, offsets and constants of the format.
const (
	volumeHeader = 48 // where a volume says how long its header is
	storeHeader  = 28
	startID      = 0x55aa
	added        = 0x3f // the state of a variable that is in force
	deleting     = 0x3e // of one that is, until its successor is written
	headerSize   = 60
	alignment    = 4
)

var (
	volumeGUID = mustGUID("fff12b8d-7696-4c8b-a985-2747075b4f50")
	storeGUID  = mustGUID("aaf32c78-947b-439a-a180-2e144ec37792")
)

// header is that of a variable; its name and data follow.
type header struct {
	StartID    uint16
	State      uint8
	Reserved   uint8
	Attributes uint32
	Count      uint64
	Time       [16]byte
	Key        uint32
	NameSize   uint32
	DataSize   uint32
	Vendor     GUID
}

// store is the part of an image where variables are.
func store(image []byte) ([]byte, error) {
	if len(image) < volumeHeader+2 || GUID(image[16:32]) != volumeGUID {
		return nil, errors.New("it is not one of OVMF's variables")
	}
	at := int(binary.LittleEndian.Uint16(image[volumeHeader:]))
	if at+storeHeader > len(image) || GUID(image[at:at+16]) != storeGUID {
		return nil, errors.New("it has no store of authenticated variables")
	}
	size := int(binary.LittleEndian.Uint32(image[at+16:]))
	if size < storeHeader || size > len(image)-at {
		return nil, fmt.Errorf("its store of %d bytes is not in it", size)
	}
	return image[at+storeHeader : at+size], nil
}

// Read lists the variables that are in force.
func Read(image []byte) ([]Variable, error) {
	s, err := store(image)
	if err != nil {
		return nil, fmt.Errorf("reading a flash image: %w", err)
	}
	var variables []Variable
	for at := 0; at+headerSize <= len(s); {
		var h header
		if err := binary.Read(bytes.NewReader(s[at:]), binary.LittleEndian, &h); err != nil {
			return nil, err
		}
		if h.StartID != startID {
			break
		}
		at += headerSize
		if uint64(h.NameSize)+uint64(h.DataSize) > uint64(len(s)-at) || h.NameSize%2 != 0 {
			return nil, fmt.Errorf("reading a flash image: a variable with %d bytes of name and %d of data does not fit", h.NameSize, h.DataSize)
		}
		name, data := s[at:at+int(h.NameSize)], s[at+int(h.NameSize):][:h.DataSize]
		if h.State == added || h.State == deleting {
			variables = append(variables, Variable{decodeName(name), h.Vendor, h.Attributes, bytes.Clone(data)})
		}
		at = (at + len(name) + len(data) + alignment - 1) &^ (alignment - 1)
	}
	return variables, nil
}

// Write returns a copy of the image that holds these variables and no others.
func Write(image []byte, variables []Variable) ([]byte, error) {
	out := bytes.Clone(image)
	s, err := store(out)
	if err != nil {
		return nil, fmt.Errorf("writing a flash image: %w", err)
	}
	var b bytes.Buffer
	for _, v := range variables {
		name := encodeName(v.Name)
		h := header{
			StartID: startID, State: added, Attributes: v.Attributes, Vendor: v.Vendor,
			NameSize: uint32(len(name)), DataSize: uint32(len(v.Data)),
		}
		binary.Write(&b, binary.LittleEndian, h) // a buffer takes everything
		b.Write(name)
		b.Write(v.Data)
		b.Write(bytes.Repeat([]byte{0xff}, -b.Len()&(alignment-1)))
	}
	if b.Len() > len(s) {
		return nil, fmt.Errorf("writing a flash image: variables of %d bytes do not fit into its %d", b.Len(), len(s))
	}
	n := copy(s, b.Bytes())
	for i := n; i < len(s); i++ {
		s[i] = 0xff // as erased flash is
	}
	return out, nil
}

func encodeName(name string) []byte {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(name)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func decodeName(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, binary.LittleEndian.Uint16(b))
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}
