package extract

import (
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// needs adds up what a commit copies from the staging directory to other filesystems.
type needs struct {
	device uint64 // of the staging directory
	memory bool   // it is in memory
	of     map[uint64]*need
}

// need is that of one filesystem.
type need struct {
	room         room
	dir          string
	sum, largest int64
}

func newNeeds(staged *os.File) (*needs, error) {
	device, err := device(staged)
	if err != nil {
		return nil, err
	}
	r, err := roomOf(staged, meminfo)
	return &needs{device, r.memory, make(map[uint64]*need)}, err
}

func device(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("looking at %s: %w", f.Name(), err)
	}
	return st.Dev, nil
}

// add notes a file that goes to the filesystem of dir.
func (n *needs) add(dir *os.File, size int64) error {
	id, err := device(dir)
	if err != nil || id == n.device {
		return err
	}
	to := n.of[id]
	if to == nil {
		r, err := roomOf(dir, meminfo)
		if err != nil {
			return err
		}
		to = &need{room: r, dir: path.Join("/", dir.Name())}
		n.of[id] = to
	}
	to.sum += size + page
	to.largest = max(to.largest, size+page)
	return nil
}

// check gives a *SpaceError for a filesystem that has too little room. A file that is moved from memory to
// memory needs room for a second copy of itself only.
func (n *needs) check() error {
	for _, to := range n.of {
		fresh := to.sum
		if n.memory {
			fresh = to.largest
		}
		if err := to.room.take(to.dir, to.sum, fresh); err != nil {
			return err
		}
	}
	return nil
}
