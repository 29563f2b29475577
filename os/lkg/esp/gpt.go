package esp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"

	"github.com/ember-os/ember/os/lkg/efiboot"
)

// table is a GPT: UEFI 2.10, section 5.3.
type table []tableEntry

type tableEntry struct {
	efiboot.Partition
	kind efiboot.GUID
	name string
}

// systemPartition is C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
var systemPartition = efiboot.GUID{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}

const (
	headerSize   = 92
	minEntry     = 128
	maxTableSize = 1 << 20 // bytes; usual are 16 KB
)

// errNoTable says that a disk has none.
var errNoTable = errors.New("it has no GPT")

// readTable reads the GPT of a disk, from its end if that at its beginning is damaged. Sizes are in bytes.
func readTable(disk io.ReaderAt, size, block int64) (table, error) {
	if block < 512 || block > 1<<16 || size < 4*block {
		return nil, errNoTable
	}
	t, err := readCopy(disk, size, block, 1)
	if err == nil {
		return t, nil
	}
	if t, err2 := readCopy(disk, size, block, size/block-1); err2 == nil {
		return t, nil
	}
	return nil, err
}

func readCopy(disk io.ReaderAt, size, block, at int64) (table, error) {
	h := make([]byte, block)
	if _, err := disk.ReadAt(h, at*block); err != nil {
		return nil, fmt.Errorf("reading the partition table: %w", err)
	}
	le := binary.LittleEndian
	length := le.Uint32(h[12:])
	if !bytes.HasPrefix(h, []byte("EFI PART")) {
		return nil, errNoTable
	}
	if length < headerSize || int64(length) > block {
		return nil, errors.New("reading the partition table: it is damaged")
	}
	sum := le.Uint32(h[16:])
	clear(h[16:20])
	if crc32.ChecksumIEEE(h[:length]) != sum || le.Uint64(h[24:]) != uint64(at) {
		return nil, errors.New("reading the partition table: it is damaged")
	}
	start, count, entrySize := le.Uint64(h[72:]), uint64(le.Uint32(h[80:])), uint64(le.Uint32(h[84:]))
	if entrySize < minEntry || entrySize%8 != 0 || count*entrySize > maxTableSize || start > uint64(size/block) {
		return nil, errors.New("reading the partition table: it has sizes that can not be")
	}
	entries := make([]byte, count*entrySize)
	if _, err := disk.ReadAt(entries, int64(start)*block); err != nil {
		return nil, fmt.Errorf("reading the partition table: %w", err)
	}
	if crc32.ChecksumIEEE(entries) != le.Uint32(h[88:]) {
		return nil, errors.New("reading the partition table: it is damaged")
	}
	var t table
	for i := range count {
		if e := parseEntry(entries[i*entrySize:], uint32(i)+1); e.kind != (efiboot.GUID{}) {
			t = append(t, e)
		}
	}
	return t, nil
}

func parseEntry(b []byte, number uint32) tableEntry {
	le := binary.LittleEndian
	first, last := le.Uint64(b[32:]), le.Uint64(b[40:])
	var name []uint16
	for o := 56; o < minEntry; o += 2 {
		u := le.Uint16(b[o:])
		if u == 0 {
			break
		}
		name = append(name, u)
	}
	return tableEntry{
		Partition: efiboot.Partition{Number: number, Start: first, Blocks: last - first + 1, GUID: efiboot.GUID(b[16:32])},
		kind:      efiboot.GUID(b[:16]),
		name:      string(utf16.Decode(name)),
	}
}
