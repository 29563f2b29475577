package scratch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// content is what is on a disk, as far as it can be told.
type content struct {
	kind  string // for people: "a partition table"; "" if the disk is blank
	label string // of an ext filesystem; so is uuid
	uuid  string // "" also if it is all zeros
}

// ext is the kind that may be ours: ext2, ext3 and ext4 have the same superblock.
const ext = "an ext filesystem"

// mine tells whether the disk has our mark.
func (c content) mine() bool { return c.kind == ext && c.label == Label }

func (c content) String() string {
	switch {
	case c.kind == "":
		return "nothing"
	case c.label != "":
		return fmt.Sprintf("%s called %q", c.kind, c.label)
	}
	return c.kind
}

// ends is how much of a disk must be blank at its beginning and at its end for the
// disk to be blank: every partition table, filesystem, volume manager and RAID keeps
// a description of itself there.
const ends = 4 << 20

// signature is what shows a kind of content. It only makes for a better message:
// what has none is not taken for blank.
type signature struct {
	kind   string
	offset int64
	magic  string
}

// signatures has those in front that others can be part of. A boot sector is part of
// many.
var signatures = []signature{
	{"a partition table", 512, "EFI PART"},
	{"a partition table", 4096, "EFI PART"}, // sectors of 4096 bytes
	{"an encrypted volume (LUKS)", 0, "LUKS\xba\xbe"},
	{"a part of a volume group (LVM)", 512, "LABELONE"},
	{"a part of a RAID (md)", 0, "\xfc\x4e\x2b\xa9"},
	{"a part of a RAID (md)", 4096, "\xfc\x4e\x2b\xa9"},
	{ext, superblock + 0x38, "\x53\xef"},
	{"an XFS filesystem", 0, "XFSB"},
	{"a btrfs filesystem", 0x10040, "_BHRfS_M"},
	{"an NTFS filesystem", 3, "NTFS    "},
	{"a FAT filesystem", 3, "EXFAT   "},
	{"a FAT filesystem", 54, "FAT1"},
	{"a FAT filesystem", 82, "FAT32"},
	{"swap space", 4086, "SWAPSPACE2"},
	{"an ISO image", 0x8001, "CD001"},
	{"a partition table", 510, "\x55\xaa"},
}

const superblock = 1024 // the offset of ext's; see the kernel's Documentation/filesystems/ext4/super.rst

// identify tells what is on a disk.
func identify(disk io.ReadSeeker) (content, error) {
	size, err := disk.Seek(0, io.SeekEnd)
	if err != nil {
		return content{}, err
	}
	if size == 0 {
		return content{}, errors.New("its size is 0")
	}
	front, err := read(disk, 0, min(size, ends))
	if err != nil {
		return content{}, err
	}
	back, err := read(disk, max(0, size-ends), min(size, ends))
	if err != nil {
		return content{}, err
	}
	if isBlank(front) && isBlank(back) {
		return content{}, nil
	}
	return parse(front), nil
}

func read(disk io.ReadSeeker, offset, length int64) ([]byte, error) {
	if _, err := disk.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	b := make([]byte, length)
	_, err := io.ReadFull(disk, b)
	return b, err
}

// isBlank tells whether all bytes are zero, or all are one, as flash memory has them
// that was erased.
func isBlank(b []byte) bool {
	first := b[0]
	other := func(c byte) bool { return c != first }
	return (first == 0 || first == 0xff) && !slices.ContainsFunc(b, other)
}

// parse looks at the beginning of a disk that is not blank.
func parse(front []byte) content {
	for _, s := range signatures {
		if s.offset < int64(len(front)) && bytes.HasPrefix(front[s.offset:], []byte(s.magic)) {
			c := content{kind: s.kind}
			if s.kind == ext {
				c.label, c.uuid = extNames(front[superblock:])
			}
			return c
		}
	}
	return content{kind: "something that is not known"}
}

// extNames gives s_volume_name and s_uuid of a superblock.
func extNames(super []byte) (label, uuid string) {
	const uuidAt, labelAt, end = 0x68, 0x78, 0x88
	if len(super) < end {
		return "", ""
	}
	label, _, _ = strings.Cut(string(super[labelAt:end]), "\x00")
	id := super[uuidAt:labelAt]
	if !isBlank(id) {
		uuid = fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:])
	}
	return label, uuid
}
