// Package fattest is a FAT filesystem in memory, for tests of what a power cut leaves on the disk.
//
// Linux's vfat is imitated as far as the order of writes goes: nothing is on the disk for certain before a Sync of the
// file or directory that it belongs to, until then each sector may have been written at any time, and names, sizes,
// chains and data are different sectors. Fresh clusters hold what was in them before. Names are 8.3 and in capitals.
// Directories do not grow.
//
// What a real kernel wrote can be replayed too, where QEMU has logged it: ReadLog.
package fattest

import (
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	sector = 512
	entry  = 32 // bytes

	newRoot  = 512 // entries in the root directory of New
	isDir    = 0x10
	longName = 0x0f
	deleted  = 0xe5
)

// Disk is a filesystem, which remembers every write.
type Disk struct {
	// Err is what every write gives, if it is set. Limit is the number of writes after which it is.
	Err   error
	Limit int

	image    []byte
	original []byte
	log      []op
	geometry
}

// op is the write of a sector, or a sync of all that an owner wrote.
type op struct {
	owner  string
	sector int
	data   []byte // nil for a sync
}

// geometry is where things are: Microsoft FAT Specification 1.03, section 3.
type geometry struct {
	fats, fatStart, fatSize int // the last two in bytes
	root, rootSize          int // in bytes; of FAT32 a cluster, and 0
	data, cluster, clusters int // the first two in bytes
	entrySize               int // of the FAT, in bytes: 2 or 4
}

func readGeometry(b []byte) geometry {
	le := binary.LittleEndian
	if le.Uint16(b[11:]) != sector {
		panic("sectors that are not of 512 bytes")
	}
	g := geometry{fats: int(b[16]), fatStart: int(le.Uint16(b[14:])) * sector, cluster: int(b[13]) * sector,
		fatSize: int(le.Uint16(b[22:])) * sector, rootSize: int(le.Uint16(b[17:])) * entry, entrySize: 2}
	size := int(le.Uint16(b[19:]))
	if size == 0 {
		size = int(le.Uint32(b[32:]))
	}
	if g.fatSize == 0 {
		g.fatSize, g.entrySize = int(le.Uint32(b[36:]))*sector, 4
	}
	g.root = g.fatStart + g.fats*g.fatSize
	g.data = g.root + g.rootSize
	if g.entrySize == 4 {
		g.root = int(le.Uint32(b[44:]))
	}
	g.clusters = (size*sector - g.data) / g.cluster
	return g
}

// New makes an empty FAT16 with that many clusters of one sector, from 4085 to 65524.
func New(clusters int) *Disk {
	fatSize := (2*(clusters+2) + sector - 1) / sector
	sectors := 1 + 2*fatSize + newRoot*entry/sector + clusters
	b := make([]byte, sectors*sector)
	le := binary.LittleEndian
	copy(b, "\xeb\x3c\x90EMBERTST")
	le.PutUint16(b[11:], sector)
	b[13], b[14], b[16] = 1, 1, 2
	le.PutUint16(b[17:], newRoot)
	if sectors < 1<<16 {
		le.PutUint16(b[19:], uint16(sectors))
	} else {
		le.PutUint32(b[32:], uint32(sectors))
	}
	b[21] = 0xf8
	le.PutUint16(b[22:], uint16(fatSize))
	b[24], b[26] = 32, 8
	b[38] = 0x29
	copy(b[43:], "NO NAME    FAT16   ")
	b[510], b[511] = 0x55, 0xaa
	for i := range 2 {
		copy(b[(1+i*fatSize)*sector:], "\xf8\xff\xff\xff")
	}
	d := From(b)
	d.Record()
	return d
}

// From is the FAT16 or FAT32 in an image, which is changed. It can not tell of crashes before Record.
func From(image []byte) *Disk { return &Disk{image: image, geometry: readGeometry(image)} }

// Image is the filesystem after all writes.
func (d *Disk) Image() []byte { return slices.Clone(d.image) }

// Record forgets the writes until now.
func (d *Disk) Record() { d.original, d.log = slices.Clone(d.image), nil }

// write changes bytes.
func (d *Disk) write(owner string, at int, b []byte) error {
	for len(b) > 0 {
		if d.Err != nil && d.Limit <= 0 {
			return d.Err
		}
		d.Limit--
		n := min(len(b), sector-at%sector)
		s := at / sector
		copy(d.image[at:at+n], b)
		d.log = append(d.log, op{owner, s, slices.Clone(d.image[s*sector : (s+1)*sector])})
		at, b = at+n, b[n:]
	}
	return nil
}

const fatOwner = "FAT" // is written with whatever is synced

func (d *Disk) sync(owner string) error {
	if d.Err != nil && d.Limit <= 0 {
		return d.Err
	}
	d.log = append(d.log, op{owner: owner})
	return nil
}

func (d *Disk) next(cluster int) int {
	b := d.image[d.fatStart+d.entrySize*cluster:]
	if d.entrySize == 2 {
		return int(binary.LittleEndian.Uint16(b))
	}
	return int(binary.LittleEndian.Uint32(b) & 0x0fffffff)
}

func (d *Disk) link(cluster, to int) error {
	var errs []error
	b := binary.LittleEndian.AppendUint32(nil, uint32(to))[:d.entrySize]
	for i := range d.fats {
		errs = append(errs, d.write(fatOwner, d.fatStart+i*d.fatSize+d.entrySize*cluster, b))
	}
	return errors.Join(errs...)
}

const endOfChain = 0x0fffffff

func (d *Disk) offset(cluster int) int { return d.data + (cluster-2)*d.cluster }

// alloc gives a free cluster.
func (d *Disk) alloc() (int, error) {
	for c := 2; c < d.clusters+2; c++ {
		if d.next(c) == 0 {
			return c, d.link(c, endOfChain)
		}
	}
	return 0, unix.ENOSPC
}

func (d *Disk) chain(first int) []int {
	var c []int
	for ; first >= 2 && first < d.clusters+2 && len(c) <= d.clusters; first = d.next(first) {
		c = append(c, first)
	}
	return c
}

// Free is the room in bytes.
func (d *Disk) Free() (int64, error) {
	free := 0
	for c := 2; c < d.clusters+2; c++ {
		if d.next(c) == 0 {
			free++
		}
	}
	return int64(free) * int64(d.cluster), nil
}
