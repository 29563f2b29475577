// Package crash says how the last boot ended, if it did not end in order: what the
// dying kernel left in the persistent store (pstore, in ERST, EFI variables or RAM),
// and what the watchdogs remember.
package crash

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ember-os/ember/os/logline"
)

// Store is where the kernel shows the persistent store.
const Store = "/sys/fs/pstore"

// FilePrefix begins the name of each file there that has a share of a kernel's log.
const FilePrefix = "dmesg-"

// TailLines is how many lines of a kernel's log a Dump has at most.
const TailLines = 40

// Dump is the log of a kernel in trouble. Of several in the store it is the newest.
type Dump struct {
	Reason  string         // "Panic", "Oops", ...: see kmsg_dump_reason_str in Linux
	Time    time.Time      // when it was stored, by the clock of then; in seconds, at best
	Summary string         // the line of the log that says what happened, "" if none does
	Tail    []logline.Line // the last lines of the log
	Older   int            // dumps in the store that are not the newest

	files []string // with everything that is to be cleared
}

// Read reads the store in dir. The result is nil if there is no dump. What can not
// be read, for example because the kernel failed to decompress it, is left out; with
// nothing else in the store it is an error.
func Read(dir string) (*Dump, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the persistent store: %w", err)
	}
	var parts []part
	var files []string
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), FilePrefix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		p, err := readPart(path)
		if errors.Is(err, fs.ErrNotExist) || p.reason == orderly { // somebody cleared it, or it is no crash
			continue
		}
		files = append(files, path)
		if err != nil {
			errs = append(errs, fmt.Errorf("reading the persistent store: %w", err))
			continue
		}
		parts = append(parts, p)
	}
	if files == nil {
		return nil, nil
	}
	d := newest(parts)
	d.files = files
	if parts == nil {
		return d, errors.Join(errs...)
	}
	return d, nil
}

// Clear empties the store of everything that Read saw.
func (d *Dump) Clear() error {
	var errs []error
	for _, path := range d.files {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("clearing the persistent store: %w", err))
		}
	}
	return errors.Join(errs...)
}

// part is one file of a dump. Stores have small records, and a dump takes several.
type part struct {
	header
	time time.Time // in seconds: not all stores have more
	text string
}

// maxPart is more than any store gives a record.
const maxPart = 1 << 20

func readPart(path string) (part, error) {
	f, err := os.Open(path)
	if err != nil {
		return part{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return part{}, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPart))
	if err != nil {
		return part{}, err
	}
	h, text, ok := parse(string(b))
	if !ok {
		return part{}, fmt.Errorf("%s is no dump that can be read", path)
	}
	return part{h, info.ModTime().UTC().Truncate(time.Second), text}, nil
}

// dumpTime is how long writing one dump may take.
const dumpTime = time.Minute

// dumps puts parts together that are of one dump, the newest dump last. The kernel
// writes part 1 first. It counts dumps from 1 in every boot, so after a part of the same
// number, or of a higher one, another boot's dump begins.
func dumps(parts []part) [][]part {
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.count, b.count), cmp.Compare(a.part, b.part))
	})
	var all [][]part
	for _, p := range parts {
		i := len(all) - 1
		for i >= 0 && (all[i][0].reason != p.reason || all[i][0].count != p.count) {
			i--
		}
		if i < 0 || p.part <= all[i][len(all[i])-1].part || p.time.Sub(all[i][0].time) >= dumpTime {
			all = append(all, []part{p})
			continue
		}
		all[i] = append(all[i], p)
	}
	return all
}

// newest puts the newest dump together.
func newest(parts []part) *Dump {
	if len(parts) == 0 {
		return &Dump{}
	}
	all := dumps(parts)
	ours := all[len(all)-1]
	last := ours[len(ours)-1]
	d := &Dump{Reason: last.reason, Time: last.time, Older: len(all) - 1}
	var lines []logline.Line
	for _, p := range slices.Backward(ours) { // part 1 has the end
		for text := range strings.Lines(p.text) {
			lines = append(lines, record(text))
		}
	}
	d.Summary = summary(lines)
	d.Tail = lines[max(0, len(lines)-TailLines):]
	return d
}
