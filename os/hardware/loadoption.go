package hardware

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"unicode/utf16"
)

// LoadOption is an entry of the firmware's boot menu: EFI_LOAD_OPTION in UEFI 2.10,
// section 3.1.3, with what its first device path says.
type LoadOption struct {
	Description string
	MAC         net.HardwareAddr // of the NIC of a network boot
	URI         string           // of a boot by HTTP
	Partition   string           // GUID of a GPT partition
	File        string           // a program on a partition, with backslashes
}

var errShort = errors.New("reading EFI load option: cut short")

// ParseLoadOption reads the value of a variable Boot0000 to BootFFFF. With an error
// comes what was read before it.
func ParseLoadOption(b []byte) (LoadOption, error) {
	const header = 4 + 2 // attributes, length of the device paths
	if len(b) < header {
		return LoadOption{}, errShort
	}
	length := int(binary.LittleEndian.Uint16(b[4:]))
	b = b[header:]
	end := 0
	for ; ; end += 2 {
		if end+2 > len(b) {
			return LoadOption{}, errShort
		}
		if b[end] == 0 && b[end+1] == 0 {
			break
		}
	}
	o := LoadOption{Description: ucs2(b[:end])}
	b = b[end+2:]
	if length > len(b) {
		return o, errShort
	}
	err := o.readPath(b[:length])
	return o, err
}

// readPath reads a device path: UEFI 2.10, section 10.3.
func (o *LoadOption) readPath(b []byte) error {
	const (
		header  = 4
		endType = 0x7f
	)
	for len(b) > 0 {
		if len(b) < header {
			return errShort
		}
		size := int(binary.LittleEndian.Uint16(b[2:]))
		if size < header || size > len(b) {
			return fmt.Errorf("reading EFI load option: a device path node has %d bytes of %d", size, len(b))
		}
		if b[0] == endType {
			return nil
		}
		o.readNode(int(b[0])<<8|int(b[1]), b[header:size])
		b = b[size:]
	}
	return nil
}

// Types and subtypes of the nodes of interest.
const (
	nodeMAC       = 3<<8 | 11
	nodeURI       = 3<<8 | 24
	nodePartition = 4<<8 | 1
	nodeFile      = 4<<8 | 4
)

func (o *LoadOption) readNode(kind int, b []byte) {
	switch kind {
	case nodeMAC:
		const size = 6
		if len(b) >= size {
			o.MAC = net.HardwareAddr(b[:size:size])
		}
	case nodeURI:
		o.URI = string(b)
	case nodePartition:
		const signature, signatureType, isGUID = 20, 37, 2
		if len(b) > signatureType && b[signatureType] == isGUID {
			o.Partition = guid(b[signature:])
		}
	case nodeFile:
		o.File += ucs2(b)
	}
}

// guid writes an EFI_GUID, whose first three fields are little-endian.
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

// ucs2 reads a string as UEFI has them, up to a null character.
func ucs2(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
