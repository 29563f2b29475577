package containerd

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReport(t *testing.T) {
	const mib = 1 << 20
	m, log := newMachine(t, "")
	said := 0
	for _, step := range []struct {
		percent uint64
		want    string // begins a line that is logged
	}{
		{0, ""}, {79, ""}, {80, "<4>"}, {90, ""}, {79, ""}, {81, ""}, {95, "<3>"}, {100, ""}, {91, ""}, {96, ""},
		{89, ""}, {95, "<3>"}, {0, ""}, {80, "<4>"}, {70, ""}, {99, "<3>"}, {76, ""}, {83, ""}, {74, ""}, {83, "<4>"},
	} {
		log.Reset()
		said = m.report(space{used: step.percent * mib, free: (100 - step.percent) * mib, memory: true}, said)
		if got := log.String(); !strings.HasPrefix(got, step.want) || (step.want == "") != (got == "") {
			t.Errorf("at %d%%: %q, want %q", step.percent, got, step.want)
		}
	}
	log.Reset()
	m.report(space{used: 80 * mib, free: 20 * mib, memory: true}, 0)
	if got := log.String(); got != "<4>the memory for images and containers is nearly full: remove some (nerdctl system prune), or name a disk with ember.scratch= full=80% used=80MiB free=20MiB\n" {
		t.Errorf("memory: %q", got)
	}
	log.Reset()
	m.report(space{used: 95 * mib, free: 5 * mib}, 0)
	if got := log.String(); got != "<3>the disk for images and containers is nearly full: remove some (nerdctl system prune) full=95% used=95MiB free=5MiB\n" {
		t.Errorf("disk: %q", got)
	}
	if p := (space{}).percent(); p != 0 {
		t.Errorf("no space at all is %d%% full", p)
	}
}

func TestSpaceOf(t *testing.T) {
	st := unix.Statfs_t{Bsize: 4096, Blocks: 1000, Bfree: 600, Bavail: 500}
	if got, want := spaceOf(st, 1), (space{used: 400 * 4096, free: 500 * 4096}); got != want {
		t.Errorf("a disk: %+v, want %+v", got, want)
	}
	st.Type = unix.TMPFS_MAGIC
	if got, want := spaceOf(st, 7), (space{used: 400 * 4096, free: 7, memory: true}); got != want {
		t.Errorf("memory: %+v, want %+v", got, want)
	}
}

func TestMeasure(t *testing.T) {
	m, _ := newMachine(t, "")
	if _, err := m.measure(); err == nil {
		t.Error("measured what is not there")
	}
	m.put(t, stateDir+"/x", "x")
	if _, err := m.measure(); err == nil {
		t.Error("measured without the memory")
	}
	m.put(t, "/proc/meminfo", "MemTotal:        2000 kB\nMemAvailable:    1000 kB\n")
	if s, err := m.measure(); err != nil || s.used+s.free == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAvailable(t *testing.T) {
	for text, want := range map[string]uint64{
		"MemTotal:       32768 kB\nMemFree:  1 kB\nMemAvailable:   16384 kB\n": 16 << 20,
		"MemAvailable: 0 kB": 0,
		"":                   1 << 62,
		"MemAvailable: x kB": 1 << 62,
		"MemAvailable: 99999999999999999999999 kB": 1 << 62,
	} {
		if got := available([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func FuzzAvailable(f *testing.F) {
	f.Add([]byte("MemTotal: 1 kB\nMemAvailable: 5 kB\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if n := available(text); n%1024 != 0 {
			t.Errorf("%d is not in KiB", n)
		}
	})
}
