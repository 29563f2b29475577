package fattest

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/ember-os/ember/os/lkg/slot"
	"golang.org/x/sys/unix"
)

// entries are the offsets of a directory's entries, the used and the free ones.
func (d *Disk) entries(dir string) (at []int, err error) {
	area := func(from, size int) {
		for o := from; o < from+size; o += entry {
			at = append(at, o)
		}
	}
	if dir == "." && d.rootSize > 0 {
		area(d.root, d.rootSize)
		return at, nil
	}
	first := d.root
	if dir != "." {
		o, err := d.find(dir)
		if err != nil {
			return nil, err
		}
		if d.image[o+11]&isDir == 0 {
			return nil, unix.ENOTDIR
		}
		first = d.first(o)
	}
	for _, c := range d.chain(first) {
		area(d.offset(c), d.cluster)
	}
	return at, nil
}

func (d *Disk) first(entry int) int {
	le := binary.LittleEndian
	first := int(le.Uint16(d.image[entry+26:]))
	if d.entrySize == 4 {
		first |= int(le.Uint16(d.image[entry+20:])) << 16
	}
	return first
}

// setFirst sets what first gives.
func setFirst(entry []byte, cluster int) {
	le := binary.LittleEndian
	le.PutUint16(entry[20:], uint16(cluster>>16))
	le.PutUint16(entry[26:], uint16(cluster))
}

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
		if d.image[o+11] != longName && string(d.image[o:o+11]) == string(short) {
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
			setFirst(b, cluster)
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
	b := make([]byte, d.cluster)
	copy(b, ".          \x10")
	copy(b[entry:], "..         \x10")
	setFirst(b, c)
	if parent := path.Dir(name); parent != "." {
		o, err := d.find(parent)
		if err != nil {
			return err
		}
		setFirst(b[entry:], d.first(o))
	}
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
