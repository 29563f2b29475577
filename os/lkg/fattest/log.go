package fattest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// everybody is the owner of all sectors.
const everybody = "*"

// Flags of an entry: linux/Documentation/admin-guide/device-mapper/log-writes.rst.
const (
	flushFlag   = 1
	fuaFlag     = 2
	discardFlag = 4

	logMagic  = 0x6a736677736872
	superSize = 28
	maxSector = 4096
)

// ReadLog reads what QEMU's blklogwrites recorded of a disk: Crashes of the result are those of the partition that
// begins at an offset in bytes, and was as original is.
func ReadLog(r io.Reader, original []byte, offset int64) (*Disk, error) {
	d := From(slices.Clone(original))
	d.Record()
	super := make([]byte, superSize)
	if _, err := io.ReadFull(r, super); err != nil {
		return nil, fmt.Errorf("reading a log of writes: %w", err)
	}
	le := binary.LittleEndian
	size := int64(le.Uint32(super[24:]))
	if le.Uint64(super) != logMagic || le.Uint64(super[8:]) != 1 || size < sector || size > maxSector {
		return nil, errors.New("reading a log of writes: it is none")
	}
	if _, err := io.CopyN(io.Discard, r, size-superSize); err != nil {
		return nil, fmt.Errorf("reading a log of writes: %w", err)
	}
	head := make([]byte, size)
	for i := range le.Uint64(super[16:]) {
		if _, err := io.ReadFull(r, head); err != nil {
			return nil, fmt.Errorf("reading entry %d of a log of writes: %w", i, err)
		}
		at, length, flags := int64(le.Uint64(head))*size-offset, int64(le.Uint64(head[8:]))*size, le.Uint64(head[16:])
		if flags&flushFlag != 0 {
			d.log = append(d.log, op{owner: everybody})
		}
		if flags&discardFlag != 0 || length == 0 {
			continue
		}
		if length < 0 || length > 1<<30 {
			return nil, fmt.Errorf("reading entry %d of a log of writes: it has %d bytes", i, length)
		}
		data := make([]byte, length)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, fmt.Errorf("reading entry %d of a log of writes: %w", i, err)
		}
		if at < 0 || at+length > int64(len(d.image)) { // of another partition, or the table
			continue
		}
		owner := fmt.Sprint("write ", i)
		if err := d.write(owner, int(at), data); err != nil {
			return nil, err
		}
		if flags&fuaFlag != 0 {
			d.log = append(d.log, op{owner: owner})
		}
	}
	return d, nil
}
