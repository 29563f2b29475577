package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/nstest"
)

func entry(unit string, boot time.Duration, text string) Entry {
	return Entry{unit, boot, logline.Parse(text)}
}

func TestGolden(t *testing.T) {
	for want, e := range map[string]Entry{
		"[0.000000] <6>\n":                             entry("", 0, ""),
		"[12.000345] <3>no disk [sda] <6>\n":           entry("", 12*time.Second+345*time.Microsecond, "<3>no disk [sda] <6>"),
		"[4294967295.999999] <7>ü\n":                   entry("", 4294967295*time.Second+999999*time.Microsecond, "<7>ü"),
		"[1.000000] <6>[2.000000] <3>looks like one\n": entry("", time.Second, "[2.000000] <3>looks like one"),
	} {
		if got := e.format(); got != want {
			t.Errorf("%v is written %q, want %q", e, got, want)
		}
		if got, ok := parse(strings.TrimSuffix(want, "\n")); !ok || got != e {
			t.Errorf("%q is read as %v, %v", want, got, ok)
		}
	}
	for _, line := range []string{
		"", "text", "[1.000000]", "[1.000000] ", "[1.000000] text", "[1.0] <6>text", "[1.0000000] <6>text", "[01.000000] <6>text",
		"[-1.000000] <6>text", "[1.-00001] <6>text", "[4294967296.000000] <6>text", "[1.000000] <6>\xff", "1.000000] <6>text", "[1.000000 <6>text", "[.000000] <6>text",
	} {
		if e, ok := parse(line); ok {
			t.Errorf("%q is read as %v", line, e)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[12.000345] <3>no disk")
	f.Fuzz(func(t *testing.T, line string) {
		e, ok := parse(line)
		if ok && !strings.Contains(line, "\n") && e.format() != line+"\n" {
			t.Errorf("%q is read as %v, which is written %q", line, e, e.format())
		}
	})
}

func newStore(t *testing.T, limit int64) *Store {
	t.Helper()
	s, err := NewStore(filepath.Join(t.TempDir(), "log"), limit)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Store) add(t *testing.T, entries ...Entry) {
	t.Helper()
	for _, e := range entries {
		if err := s.Append(e); err != nil {
			t.Fatal(err)
		}
	}
}

func next(t *testing.T, r *Reader) []Entry {
	t.Helper()
	entries, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// numbered is entries whose texts are numbers.
func numbered(from, to int) []Entry {
	var entries []Entry
	for i := from; i < to; i++ {
		entries = append(entries, entry("a.service", time.Duration(i)*time.Millisecond, fmt.Sprintf("<5>%08d", i)))
	}
	return entries
}

const numberedSize = int64(len("[0.000000] <5>00000000\n"))

func TestRotation(t *testing.T) {
	s := newStore(t, 20*numberedSize)
	r := NewReader(s.dir, "a.service")
	defer r.Close()
	if got := next(t, r); got != nil {
		t.Errorf("before there is anything: %v", got)
	}
	for from := 0; from < 50; from += 5 {
		s.add(t, numbered(from, from+5)...)
		if got := next(t, r); !reflect.DeepEqual(got, numbered(from, from+5)) {
			t.Errorf("followed %v", got)
		}
	}
	late := NewReader(s.dir, "a.service")
	defer late.Close()
	if got := next(t, late); !reflect.DeepEqual(got, numbered(30, 50)) {
		t.Errorf("what is kept: %v", got)
	}
	if got := next(t, late); got != nil {
		t.Errorf("nothing new is %v", got)
	}
	for _, name := range []string{"a.service", "a.service.1"} {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err != nil || info.Size() != 10*numberedSize {
			t.Errorf("%s: %v", name, err)
		}
	}
	if units, err := Units(s.dir); err != nil || !reflect.DeepEqual(units, []string{"a.service"}) {
		t.Errorf("units %q, %v", units, err)
	}
}

// TestRotationHalfDone reads between the two steps of a rotation.
func TestRotationHalfDone(t *testing.T) {
	s := newStore(t, Limit)
	s.add(t, numbered(0, 3)...)
	following := NewReader(s.dir, "a.service")
	defer following.Close()
	next(t, following)
	path := filepath.Join(s.dir, "a.service")
	if err := os.Rename(path, path+previous); err != nil {
		t.Fatal(err)
	}
	late := NewReader(s.dir, "a.service")
	defer late.Close()
	for range 2 {
		if got := next(t, following); got != nil {
			t.Errorf("followed %v", got)
		}
	}
	if got := next(t, late); len(got) != 3 {
		t.Errorf("a new reader finds %v", got)
	}
	again, err := NewStore(s.dir, Limit)
	if err != nil {
		t.Fatal(err)
	}
	again.add(t, numbered(3, 5)...)
	for _, r := range []*Reader{following, late} {
		if got := next(t, r); !reflect.DeepEqual(got, numbered(3, 5)) {
			t.Errorf("then %v", got)
		}
	}
}

func TestCrashedWriter(t *testing.T) {
	s := newStore(t, Limit)
	s.add(t, numbered(0, 1)...)
	r := NewReader(s.dir, "a.service")
	defer r.Close()
	next(t, r)
	if _, err := s.files["a.service"].WriteString("[0.000000] <6>half"); err != nil {
		t.Fatal(err)
	}
	if got := next(t, r); got != nil {
		t.Errorf("half a line is %v", got)
	}
	again, err := NewStore(s.dir, Limit)
	if err != nil {
		t.Fatal(err)
	}
	again.add(t, numbered(1, 2)...)
	if got := next(t, r); !reflect.DeepEqual(got, numbered(1, 2)) {
		t.Errorf("behind half a line there is %v", got)
	}
}

// TestFull fills the filesystem of the log, so that a line is written in part.
func TestFull(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	dir := t.TempDir()
	page := os.Getpagesize()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", 2*page)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, page), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := NewStore(filepath.Join(dir, "log"), Limit)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader(s.dir, "a.service")
	defer r.Close()
	// The last line is cut where what there is of it looks like a whole one.
	const half, empty = len("[0.000000] <5>00000"), len("[0.000000] <5>\n")
	first := entry("a.service", 0, "<5>"+strings.Repeat("x", (page-half-empty)%int(numberedSize)))
	fit := (page - half - len(first.format())) / int(numberedSize)
	s.add(t, append([]Entry{first}, numbered(0, fit)...)...)
	for range 2 {
		if err := s.Append(numbered(fit, fit+1)[0]); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("without room: %v", err)
		}
	}
	if got := next(t, r); !reflect.DeepEqual(got, append([]Entry{first}, numbered(0, fit)...)) {
		t.Errorf("before there is room: %v", got)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.add(t, numbered(fit+1, fit+3)...)
	if got := next(t, r); !reflect.DeepEqual(got, numbered(fit+1, fit+3)) {
		t.Errorf("with room again: %v", got)
	}
	late := NewReader(s.dir, "a.service")
	defer late.Close()
	if got := next(t, late); !reflect.DeepEqual(got[1+fit:], numbered(fit+1, fit+3)) {
		t.Errorf("a new reader finds %v", got)
	}
}

func TestStoreFails(t *testing.T) {
	s := newStore(t, Limit)
	if err := s.Append(entry("no/unit", 0, "")); err == nil {
		t.Error("a unit in a directory that is not there is stored")
	}
	if err := os.WriteFile(filepath.Join(s.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewStore(filepath.Join(s.dir, "file", "log"), Limit); err == nil {
		t.Error("a directory is made below a file")
	}
}
