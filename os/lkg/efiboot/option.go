package efiboot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// GUID is one in the order of bytes that EFI has it: the first three parts little-endian.
type GUID [16]byte

func (g GUID) String() string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(g[:]), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:10], g[10:])
}

// Partition is one of a GPT.
type Partition struct {
	Number uint32 // from 1
	Start  uint64 // in blocks of the disk
	Blocks uint64
	GUID   GUID // its own
}

// option is EFI_LOAD_OPTION: UEFI 2.10, section 3.1.3.
type option struct {
	active      bool
	description string
	path        []byte // of devices, with its end
	data        []byte
}

const activeFlag = 1

var errOption = errors.New("it is not an EFI_LOAD_OPTION")

// encode leaves out attributes other than that of an active entry.
func (o option) encode() []byte {
	le := binary.LittleEndian
	attributes := uint32(0)
	if o.active {
		attributes = activeFlag
	}
	b := le.AppendUint32(nil, attributes)
	b = le.AppendUint16(b, uint16(len(o.path)))
	return append(append(append(b, ucs2(o.description)...), o.path...), o.data...)
}

func decodeOption(b []byte) (option, error) {
	le := binary.LittleEndian
	if len(b) < 6 {
		return option{}, errOption
	}
	o := option{active: le.Uint32(b)&activeFlag != 0}
	size := int(le.Uint16(b[4:]))
	text, n, ok := fromUCS2(b[6:])
	rest := b[6+n:]
	if !ok || len(rest) < size {
		return option{}, errOption
	}
	o.description, o.path, o.data = text, rest[:size:size], rest[size:]
	return o, nil
}

// ucs2 is a text as EFI has it, with its end.
func ucs2(s string) []byte {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// fromUCS2 reads a text up to its end, and tells how many bytes that were.
func fromUCS2(b []byte) (s string, n int, ok bool) {
	var units []uint16
	for ; n+2 <= len(b); n += 2 {
		u := binary.LittleEndian.Uint16(b[n:])
		if u == 0 {
			return string(utf16.Decode(units)), n + 2, true
		}
		units = append(units, u)
	}
	return "", n, false
}

// Types and subtypes of the nodes of a device path: UEFI 2.10, section 10.3.
const (
	messaging = 3
	media     = 4
	end       = 0x7f

	macAddress, ipv4, ipv6, uri = 11, 12, 13, 24 // messaging
	hardDrive, filePath         = 1, 4           // media

	gptFormat, guidSignature = 2, 2
)

func node(kind, sub byte, data []byte) []byte {
	return append(binary.LittleEndian.AppendUint16([]byte{kind, sub}, uint16(4+len(data))), data...)
}

// fileOn is the path of a file on a partition. The name has slashes.
func fileOn(p Partition, name string) []byte {
	le := binary.LittleEndian
	hd := le.AppendUint32(nil, p.Number)
	hd = le.AppendUint64(hd, p.Start)
	hd = le.AppendUint64(hd, p.Blocks)
	hd = append(append(hd, p.GUID[:]...), gptFormat, guidSignature)
	b := node(media, hardDrive, hd)
	b = append(b, node(media, filePath, ucs2(`\`+strings.ReplaceAll(name, "/", `\`)))...)
	return append(b, node(end, 0xff, nil)...)
}

// kind is what a device path leads to.
type kind struct {
	partition GUID // of a GPT; zero if it names none
	file      string
	network   bool
}

// slashes is a path as this package gives it.
func slashes(path string) string {
	return strings.ReplaceAll(strings.TrimPrefix(path, `\`), `\`, "/")
}

// follow reads a device path as far as it is one.
func follow(path []byte) (k kind) {
	for len(path) >= 4 && path[0] != end {
		size := int(binary.LittleEndian.Uint16(path[2:]))
		if size < 4 || size > len(path) {
			return k
		}
		data := path[4:size]
		switch t, sub := path[0], path[1]; {
		case t == media && sub == hardDrive && len(data) == 38 && data[37] == guidSignature:
			k.partition = GUID(data[20:36])
		case t == media && sub == filePath:
			text, _, _ := fromUCS2(data)
			k.file = slashes(text)
		case t == messaging && (sub == macAddress || sub == ipv4 || sub == ipv6 || sub == uri):
			k.network = true
		}
		path = path[size:]
	}
	return k
}
