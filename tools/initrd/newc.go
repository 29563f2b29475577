package initrd

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"github.com/cavaliergopher/cpio"
	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/tools/initrd/tree"
)

// Limits of init/initramfs.c, which passes over an entry beyond them in silence.
const (
	maxPath  = unix.PathMax - 1 // the final NUL counts
	maxName  = unix.NAME_MAX
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
	trailer  = "TRAILER!!!"
)

// WriteArchive writes the entries, sorted by path, as one newc archive. Of hard
// links the first carries the data.
func WriteArchive(w io.Writer, entries []tree.Entry) error {
	links := countLinks(entries)
	numbers := map[*tree.Inode]int64{}
	numbered := &deviceNumbers{w: w}
	archive := cpio.NewWriter(numbered)
	for i, e := range entries {
		if err := check(e); err != nil {
			return fmt.Errorf("writing archive: %s: %w", e.Path, err)
		}
		body := e.Data
		if e.Target != "" {
			body = []byte(e.Target)
		}
		number, again := numbers[e.Inode]
		if !again {
			number = int64(i + 1)
			numbers[e.Inode] = number
		} else if e.IsRegular() {
			body = nil
		}
		numbered.set(e.Major, e.Minor)
		err := archive.WriteHeader(&cpio.Header{
			Name: e.Path, Mode: cpio.FileMode(e.Mode), Uid: int(e.UID), Guid: int(e.GID),
			Inode: number, Links: links[e.Inode], Size: int64(len(body)),
		})
		if err == nil {
			_, err = archive.Write(body)
		}
		if err != nil {
			return fmt.Errorf("writing archive: %s: %w", e.Path, err)
		}
	}
	numbered.set(0, 0)
	if err := archive.Close(); err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	return nil
}

func check(e tree.Entry) error {
	for name := range strings.SplitSeq(e.Path, "/") {
		if len(name) > maxName {
			return fmt.Errorf("the name is longer than %d bytes", maxName)
		}
	}
	switch {
	case len(e.Path) > maxPath || len(e.Target) > maxPath:
		return fmt.Errorf("the path or the link's target is longer than %d bytes", maxPath)
	case e.Path == trailer:
		return errors.New("a file of this name would end the archive")
	case e.Major > maxMajor || e.Minor > maxMinor:
		return fmt.Errorf("the kernel has no device number %d:%d", e.Major, e.Minor)
	case uint64(len(e.Data)) > math.MaxUint32:
		return errors.New("the file is larger than 4 GiB")
	}
	return nil
}

// countLinks counts the names of each file; a directory has two and one for
// each directory in it.
func countLinks(entries []tree.Entry) map[*tree.Inode]int {
	links := map[*tree.Inode]int{}
	dirs := map[string]*tree.Inode{}
	for _, e := range entries {
		links[e.Inode]++
		if e.IsDir() {
			links[e.Inode]++
			dirs[e.Path] = e.Inode
			if parent := dirs[path.Dir(e.Path)]; parent != nil {
				links[parent]++
			}
		}
	}
	return links
}

// deviceNumbers writes device numbers into the headers that pass through it,
// each of which cpio.Writer writes in one piece and with zeros in their place.
type deviceNumbers struct {
	w            io.Writer
	major, minor uint32
}

const headerSize, majorAt, minorAt, minorEnd = 110, 78, 86, 94

func (d *deviceNumbers) set(major, minor uint32) { d.major, d.minor = major, minor }

func (d *deviceNumbers) Write(p []byte) (int, error) {
	if len(p) == headerSize && d.major|d.minor != 0 {
		copy(p[majorAt:minorAt], fmt.Sprintf("%08X", d.major))
		copy(p[minorAt:minorEnd], fmt.Sprintf("%08X", d.minor))
		d.major, d.minor = 0, 0
	}
	return d.w.Write(p)
}
