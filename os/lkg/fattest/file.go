package fattest

import (
	"encoding/binary"
	"io"
)

type file struct {
	disk  *Disk
	name  string
	entry int
}

func (f *file) Close() error         { return nil }
func (f *file) Size() (int64, error) { return f.disk.size(f.entry), nil }
func (f *file) Sync() error          { return f.disk.sync(f.name) }

func (f *file) ReadAt(p []byte, at int64) (int, error) {
	d := f.disk
	chain := d.chain(d.first(f.entry))
	cluster := int64(d.cluster)
	size := min(d.size(f.entry), int64(len(chain))*cluster) // what is beyond the chain is lost
	n := 0
	for n < len(p) && at < size {
		o := d.offset(chain[at/cluster]) + int(at%cluster)
		m := copy(p[n:], d.image[o:o+int(min(cluster-at%cluster, size-at))])
		n, at = n+m, at+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	d := f.disk
	if size := d.size(f.entry); at > size {
		if _, err := f.WriteAt(make([]byte, at-size), size); err != nil {
			return 0, err
		}
	}
	chain := d.chain(d.first(f.entry))
	for int64(len(chain)*d.cluster) < at+int64(len(p)) {
		c, err := d.alloc()
		if err != nil {
			return 0, err
		}
		if len(chain) > 0 {
			err = d.link(chain[len(chain)-1], c)
		} else {
			e := append([]byte(nil), d.image[f.entry:f.entry+entry]...)
			setFirst(e, c)
			err = d.write(f.name, f.entry, e)
		}
		if err != nil {
			return 0, err
		}
		chain = append(chain, c)
	}
	if end := at + int64(len(p)); end > d.size(f.entry) {
		if err := d.write(f.name, f.entry+28, binary.LittleEndian.AppendUint32(nil, uint32(end))); err != nil {
			return 0, err
		}
	}
	for n := 0; n < len(p); {
		o := int(at) + n
		m := min(len(p)-n, d.cluster-o%d.cluster)
		if err := d.write(f.name, d.offset(chain[o/d.cluster])+o%d.cluster, p[n:n+m]); err != nil {
			return n, err
		}
		n += m
	}
	return len(p), nil
}

// ReadFile is a file of the filesystem in an image. The error is fs.ErrNotExist if it is not there.
func ReadFile(image []byte, name string) ([]byte, error) {
	f, err := From(image).Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}
