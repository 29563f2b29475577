package fattest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, d *Disk, name, text string) {
	t.Helper()
	f, err := d.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// read gives "-" for a file that is not there.
func read(t *testing.T, d *Disk, name string) string {
	t.Helper()
	f, err := d.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	size, _ := f.Size()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFiles(t *testing.T) {
	d := New(4085)
	free, _ := d.Free()
	if err := errors.Join(d.Mkdir("A"), d.Mkdir("A/B")); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("0123456789", 1000)
	write(t, d, "A/B/LONG.TXT", long)
	write(t, d, "A/EMPTY", "")
	d = From(d.Image())
	if read(t, d, "A/B/LONG.TXT") != long || read(t, d, "A/EMPTY") != "" || read(t, d, "A/NONE") != "-" {
		t.Error("other files")
	}
	if _, err := d.Create("A/EMPTY"); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if err := errors.Join(d.Remove("A/B/LONG.TXT"), d.Remove("A/EMPTY")); err != nil {
		t.Fatal(err)
	}
	if now, _ := d.Free(); now != free-2*sector {
		t.Errorf("%d bytes are free, before %d", now, free)
	}
	f, _ := d.Create("BIG")
	if _, err := f.WriteAt(make([]byte, free), 0); !errors.Is(err, unix.ENOSPC) {
		t.Error(err)
	}
}

// TestCrashes has two files, of which one is synced.
func TestCrashes(t *testing.T) {
	d := New(4085)
	write(t, d, "A", "old")
	write(t, d, "B", "old")
	d.Record()
	for _, name := range []string{"A", "B"} {
		f, err := d.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("new"), 0); err != nil {
			t.Fatal(err)
		}
		if name == "A" {
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, d, "C", "new")
	seen := map[string]bool{}
	for c := range d.Crashes(rand.New(rand.NewPCG(1, 1)), 50) {
		f := From(c.Image)
		seen[read(t, f, "A")+" "+read(t, f, "B")] = true
	}
	for _, s := range []string{"old old", "new old", "new new"} {
		if !seen[s] {
			t.Errorf("never %s", s)
		}
	}
	if seen["old new"] {
		t.Error("what was synced is lost")
	}
}

// logOf is what QEMU writes.
func logOf(size int, entries ...[]byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, logMagic)
	b = le.AppendUint64(b, 1)
	b = le.AppendUint64(b, uint64(len(entries)))
	b = le.AppendUint32(b, uint32(size))
	b = append(b, make([]byte, size-len(b))...)
	return append(b, bytes.Join(entries, nil)...)
}

func logEntry(at, flags int, data string) []byte {
	b := make([]byte, sector)
	le := binary.LittleEndian
	le.PutUint64(b, uint64(at))
	le.PutUint64(b[8:], uint64(len(data)/sector))
	le.PutUint64(b[16:], uint64(flags))
	return append(b, data...)
}

func TestReadLog(t *testing.T) {
	d := New(4085)
	write(t, d, "A", "old")
	at := d.offset(2) / sector
	text := func(s string) string { return s + strings.Repeat(" ", sector-len(s)) }
	const start = 2048
	log := logOf(sector,
		logEntry(1, 0, text("not ours")),
		logEntry(start+at, 0, text("one")),
		logEntry(start+at+1, 0, text("other")),
		logEntry(0, flushFlag, ""),
		logEntry(start+at, fuaFlag, text("two")),
		logEntry(5, discardFlag, ""),
		logEntry(start+at, 0, text("six")),
	)
	replay, err := ReadLog(bytes.NewReader(log), d.Image(), start*sector)
	if err != nil {
		t.Fatal(err)
	}
	var prefixes []string
	seen := map[string]bool{}
	for c := range replay.Crashes(rand.New(rand.NewPCG(1, 1)), 20) {
		got := read(t, From(c.Image), "A")
		if !c.Reorder {
			prefixes = append(prefixes, got)
		}
		seen[got] = true
	}
	if got := strings.Join(prefixes, " "); got != "old one one two six" || len(seen) != 4 {
		t.Errorf("%s, and reordered %v", got, seen)
	}
	for i := 0; i < len(log); i += 61 {
		if _, err := ReadLog(bytes.NewReader(log[:i]), d.Image(), 0); err == nil {
			t.Fatalf("%d bytes are a log", i)
		}
	}
}
