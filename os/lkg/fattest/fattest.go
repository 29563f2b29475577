// Package fattest is a FAT filesystem in memory, for tests of what a power cut leaves on the disk.
//
// It is a FAT16 with clusters of one sector, in which Linux's vfat is imitated as far as the order of writes goes:
// nothing is on the disk for certain before a Sync of the file or directory that it belongs to, until then each
// sector may have been written at any time, and names, sizes, chains and data are different sectors. Fresh clusters
// hold what was in them before. Names are 8.3 and in capitals.
package fattest

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ember-os/ember/os/lkg/slot"
	"golang.org/x/sys/unix"
)

const (
	sector   = 512
	fats     = 2
	reserved = 1
	rootSize = 512 // entries
	entry    = 32  // bytes

	endOfChain = 0xffff
	isDir      = 0x10
	deleted    = 0xe5
)

// Disk is a filesystem, which remembers every write.
type Disk struct {
	// Err is what every write gives, if it is set. Limit is the number of writes after which it is.
	Err   error
	Limit int

	image    []byte
	original []byte
	log      []op
	fatSize  int // sectors
}

// op is the write of a sector, or a sync of all that an owner wrote.
type op struct {
	owner  string
	sector int
	data   []byte // nil for a sync
}

// New makes an empty filesystem with that many clusters, from 4085 to 65524.
func New(clusters int) *Disk {
	d := &Disk{fatSize: (2*(clusters+2) + sector - 1) / sector}
	sectors := reserved + fats*d.fatSize + rootSize*entry/sector + clusters
	d.image = make([]byte, sectors*sector)
	le := binary.LittleEndian
	b := d.image
	copy(b, "\xeb\x3c\x90EMBERTST")
	le.PutUint16(b[11:], sector)
	b[13] = 1
	le.PutUint16(b[14:], reserved)
	b[16] = fats
	le.PutUint16(b[17:], rootSize)
	if sectors < 1<<16 {
		le.PutUint16(b[19:], uint16(sectors))
	} else {
		le.PutUint32(b[32:], uint32(sectors))
	}
	b[21] = 0xf8
	le.PutUint16(b[22:], uint16(d.fatSize))
	b[38] = 0x29
	copy(b[43:], "EMBERTEST  FAT16   ")
	b[510], b[511] = 0x55, 0xaa
	for i := range fats {
		copy(b[(reserved+i*d.fatSize)*sector:], "\xf8\xff\xff\xff")
	}
	d.Record()
	return d
}

// From is a filesystem that was made by New, in its image. It can not tell of crashes before Record.
func From(image []byte) *Disk {
	return &Disk{image: image, fatSize: int(binary.LittleEndian.Uint16(image[22:]))}
}

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
	return int(binary.LittleEndian.Uint16(d.image[reserved*sector+2*cluster:]))
}

func (d *Disk) link(cluster, to int) error {
	var errs []error
	for i := range fats {
		errs = append(errs, d.write(fatOwner, (reserved+i*d.fatSize)*sector+2*cluster, binary.LittleEndian.AppendUint16(nil, uint16(to))))
	}
	return errors.Join(errs...)
}

func (d *Disk) dataStart() int { return (reserved+fats*d.fatSize)*sector + rootSize*entry }

func (d *Disk) clusters() int { return (len(d.image) - d.dataStart()) / sector }

func (d *Disk) offset(cluster int) int { return d.dataStart() + (cluster-2)*sector }

// alloc gives a free cluster.
func (d *Disk) alloc() (int, error) {
	for c := 2; c < d.clusters()+2; c++ {
		if d.next(c) == 0 {
			return c, d.link(c, endOfChain)
		}
	}
	return 0, unix.ENOSPC
}

func (d *Disk) chain(first int) []int {
	var c []int
	for ; first >= 2 && first < d.clusters()+2 && len(c) <= d.clusters(); first = d.next(first) {
		c = append(c, first)
	}
	return c
}

// Free is the room in bytes.
func (d *Disk) Free() (int64, error) {
	free := 0
	for c := 2; c < d.clusters()+2; c++ {
		if d.next(c) == 0 {
			free++
		}
	}
	return int64(free) * sector, nil
}

// entries are the offsets of a directory's entries, the used and the free ones.
func (d *Disk) entries(dir string) (at []int, err error) {
	area := func(from, size int) {
		for o := from; o < from+size; o += entry {
			at = append(at, o)
		}
	}
	if dir == "." {
		area(d.dataStart()-rootSize*entry, rootSize*entry)
		return at, nil
	}
	o, err := d.find(dir)
	if err != nil {
		return nil, err
	}
	if d.image[o+11]&isDir == 0 {
		return nil, unix.ENOTDIR
	}
	for _, c := range d.chain(d.first(o)) {
		area(d.offset(c), sector)
	}
	return at, nil
}

func (d *Disk) first(entry int) int { return int(binary.LittleEndian.Uint16(d.image[entry+26:])) }

func (d *Disk) size(entry int) int64 {
	return int64(binary.LittleEndian.Uint32(d.image[entry+28:]))
}

func shortName(name string) []byte {
	stem, ext, _ := strings.Cut(path.Base(name), ".")
	if len(stem) > 8 || len(ext) > 3 || strings.ToUpper(name) != name {
		panic("not a name for FAT without long names: " + name)
	}
	return []byte(stem + strings.Repeat(" ", 8-len(stem)) + ext + strings.Repeat(" ", 3-len(ext)))
}

// find gives the offset of a name's entry.
func (d *Disk) find(name string) (int, error) {
	at, err := d.entries(path.Dir(name))
	if err != nil {
		return 0, err
	}
	short := shortName(name)
	for _, o := range at {
		if d.image[o] == 0 {
			break
		}
		if string(d.image[o:o+11]) == string(short) {
			return o, nil
		}
	}
	return 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// add makes an entry, with a first cluster or none.
func (d *Disk) add(name string, attr byte, cluster int) (int, error) {
	if _, err := d.find(name); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
		}
		return 0, err
	}
	at, err := d.entries(path.Dir(name))
	if err != nil {
		return 0, err
	}
	for _, o := range at {
		if d.image[o] == 0 || d.image[o] == deleted {
			b := make([]byte, entry)
			copy(b, shortName(name))
			b[11] = attr
			binary.LittleEndian.PutUint16(b[26:], uint16(cluster))
			return o, d.write(path.Dir(name), o, b)
		}
	}
	return 0, unix.ENOSPC
}

// Mkdir makes a directory.
func (d *Disk) Mkdir(name string) error {
	if _, err := d.find(name); err == nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	c, err := d.alloc()
	if err != nil {
		return err
	}
	b := make([]byte, sector)
	copy(b, ".          \x10")
	copy(b[entry:], "..         \x10")
	binary.LittleEndian.PutUint16(b[26:], uint16(c))
	if err := d.write(path.Dir(name), d.offset(c), b); err != nil {
		return err
	}
	_, err = d.add(name, isDir, c)
	return err
}

// SyncDir is fsync of a directory.
func (d *Disk) SyncDir(name string) error { return d.sync(name) }

// Remove removes a file.
func (d *Disk) Remove(name string) error {
	o, err := d.find(name)
	if err != nil {
		return err
	}
	chain := d.chain(d.first(o))
	if err := d.write(path.Dir(name), o, []byte{deleted}); err != nil {
		return err
	}
	for _, c := range chain {
		if err := d.link(c, 0); err != nil {
			return err
		}
	}
	return nil
}

// Open opens a file.
func (d *Disk) Open(name string) (slot.File, error) {
	o, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return &file{d, name, o}, nil
}

// Create makes a file.
func (d *Disk) Create(name string) (slot.File, error) {
	o, err := d.add(name, 0x20, 0)
	if err != nil {
		return nil, err
	}
	return &file{d, name, o}, nil
}
