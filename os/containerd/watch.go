package containerd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const watchEvery = 2 * time.Second

// NearlyFull is in each line that says how full the place is.
const NearlyFull = "for images and containers is nearly full"

// levels are the shares, in percent, at which something is said, and how. It is said
// again once the share was lower by rearm.
var levels = []struct {
	percent uint64
	level   slog.Level
}{{80, slog.LevelWarn}, {95, slog.LevelError}}

const rearm = 5

// space is how much room there is, in bytes.
type space struct {
	used, free uint64
	memory     bool // it is memory and no disk
}

func (s space) percent() uint64 {
	if s.used+s.free == 0 {
		return 0
	}
	return uint64(float64(s.used) / float64(s.used+s.free) * 100)
}

// watch says when the place for images and containers gets full, until ctx ends.
func (m machine) watch(ctx context.Context) error {
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	said := 0
	for {
		s, err := m.measure()
		if err != nil {
			return err
		}
		said = m.report(s, said)
		select {
		case <-every.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// report says something if a level is reached for which nothing was said. It takes
// and gives the number of levels for which something was.
func (m machine) report(s space, said int) int {
	for said > 0 && s.percent()+rearm < levels[said-1].percent {
		said--
	}
	reached := said
	for reached < len(levels) && s.percent() >= levels[reached].percent {
		reached++
	}
	if reached == said {
		return said
	}
	text := "the disk " + NearlyFull + ": remove some (nerdctl system prune)"
	if s.memory {
		text = "the memory " + NearlyFull + ": remove some (nerdctl system prune), or name a disk with ember.scratch="
	}
	m.log.Log(context.Background(), levels[reached-1].level, text,
		"full", strconv.FormatUint(s.percent(), 10)+"%", "used", mib(s.used), "free", mib(s.free))
	return reached
}

func mib(bytes uint64) string { return strconv.FormatUint(bytes>>20, 10) + "MiB" }

// measure gives the room. Of memory there is no more than is available, whatever the
// filesystem says.
func (m machine) measure() (space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(m.path(stateDir), &st); err != nil {
		return space{}, fmt.Errorf("measuring %s: %w", stateDir, err)
	}
	meminfo, err := os.ReadFile(m.path("/proc/meminfo"))
	if err != nil {
		return space{}, fmt.Errorf("measuring the memory: %w", err)
	}
	return spaceOf(st, available(meminfo)), nil
}

func spaceOf(st unix.Statfs_t, memory uint64) space {
	size := uint64(st.Bsize)
	s := space{used: (st.Blocks - st.Bfree) * size, free: st.Bavail * size, memory: st.Type == unix.TMPFS_MAGIC}
	if s.memory {
		s.free = min(s.free, memory)
	}
	return s
}

// available is MemAvailable of proc_meminfo(5), in bytes; the most there can be if
// it is not there.
func available(meminfo []byte) uint64 {
	lines := bufio.NewScanner(bytes.NewReader(meminfo))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			if kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 54); err == nil {
				return kib << 10
			}
		}
	}
	return 1 << 62
}
