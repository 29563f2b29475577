package extract

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"golang.org/x/sys/unix"
)

const (
	// page is what an entry can take beyond its bytes in the archive.
	page = 4096
	// reserve is what is left of a machine's memory, in bytes.
	reserve = 32 << 20
	meminfo = "/proc/meminfo"
)

// SpaceError is the error of an overlay that is too large for where it goes. Nothing was written.
type SpaceError struct {
	Dir        string
	Need, Free int64 // bytes
	Memory     bool  // dir is in memory
}

func (e *SpaceError) Error() string {
	text := fmt.Sprintf("it needs %s in %s, which has %s left", size(e.Need), e.Dir, size(e.Free))
	if e.Memory {
		text += ": that is in memory, so give the machine more, or leave out of the overlay what can be fetched later"
	}
	return text
}

// size gives n in MiB, rounded up.
func size(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// Need is what an overlay takes where it is staged, in bytes.
func Need(m *manifest.Manifest) int64 { return m.ArchiveSize + int64(m.Entries)*page }

// Space gives a *SpaceError if dir has no room for the overlay.
func Space(dir string, m *manifest.Manifest) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("looking for room for the overlay: %w", err)
	}
	defer f.Close()
	room, err := roomOf(f, meminfo)
	if err != nil {
		return err
	}
	return room.take(dir, Need(m), Need(m))
}

// room is what can be written to a filesystem, in bytes.
type room struct {
	own    int64 // of the filesystem itself
	memory bool  // the filesystem is in memory, of which there is
	left   int64
}

// roomOf looks at the filesystem of f.
func roomOf(f *os.File, meminfo string) (room, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return room{}, fmt.Errorf("looking for room in %s: %w", f.Name(), err)
	}
	r := room{own: int64(s.Bavail) * s.Bsize, memory: s.Type == unix.TMPFS_MAGIC || s.Type == unix.RAMFS_MAGIC}
	if !r.memory {
		return r, nil
	}
	if s.Blocks == 0 { // it has no limit of its own
		r.own = math.MaxInt64
	}
	left, err := available(meminfo)
	r.left = max(0, left-reserve)
	return r, err
}

// take gives a *SpaceError if there are less than need bytes in the filesystem, or less than fresh in memory.
func (r room) take(dir string, need, fresh int64) error {
	switch {
	case r.memory && fresh > r.left:
		return &SpaceError{dir, fresh, r.left, true}
	case need > r.own:
		return &SpaceError{dir, need, r.own, r.memory}
	}
	return nil
}

// available is the memory that can be had without swapping, in bytes: MemAvailable of proc(5).
func available(meminfo string) (int64, error) {
	f, err := os.Open(meminfo)
	if err != nil {
		return 0, fmt.Errorf("looking for free memory: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "MemAvailable" {
			continue
		}
		kB, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 40)
		if err != nil {
			return 0, fmt.Errorf("looking for free memory: %w", err)
		}
		return kB << 10, nil
	}
	return 0, fmt.Errorf("looking for free memory: %s has no MemAvailable", meminfo)
}
