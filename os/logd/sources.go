package logd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/logs"
	"github.com/ember-os/ember/os/output"
	"github.com/ember-os/ember/os/stage"
	"golang.org/x/sys/unix"
)

// unit is the output of a unit.
type unit struct {
	lines
}

// newUnit takes the name of the FIFO.
func newUnit(fifo string, to *sink) *unit {
	name, toConsole := strings.CutSuffix(fifo, output.ConsoleSuffix)
	severity := logline.Info
	take := func(line []byte, more bool) {
		l := logline.Line{Severity: severity, Text: string(line)}
		if !more {
			l = logline.Parse(l.Text)
			severity = l.Severity
		}
		to.add(name, stage.Now(), l.Severity, []byte(l.Text), toConsole)
	}
	return &unit{lines{secrets: to.secrets, take: take}}
}

func (*unit) gap() {} // a pipe has none

// kernel is the kernel's log. The number of the last record is kept in a file, so
// that none is taken twice if the daemon has to start again.
type kernel struct {
	to   *sink
	seen *os.File
	next uint64 // the sequence number of the next record
}

// cutText is the length from which a record may have lost its end: printk takes
// about 1,000 bytes, which a kernel command line may exceed.
const cutText = 900

func newKernel(seenPath string, to *sink) (*kernel, error) {
	seen, err := os.OpenFile(seenPath, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the place in the kernel's log: %w", err)
	}
	k := &kernel{to: to, seen: seen}
	text := make([]byte, 32)
	n, _ := seen.ReadAt(text, 0) // what is no number is as good as none
	k.next, _ = strconv.ParseUint(strings.TrimSpace(string(text[:n])), 10, 63)
	return k, nil
}

func (k *kernel) add(text []byte) {
	for line := range bytes.Lines(text) {
		if r, ok := parseRecord(strings.TrimSuffix(string(line), "\n")); ok && r.sequence >= k.next {
			k.take(r)
		}
	}
}

func (k *kernel) take(r record) {
	if missing := r.sequence - k.next; missing > 0 {
		k.to.add(logs.Kernel, r.boot, logline.Warning, fmt.Appendf(nil, "kernel messages missing here: %d, which the kernel had no room for", missing), false)
	}
	for line := range bytes.Lines([]byte(r.Text)) {
		if held := k.to.secrets.hold(line); len(r.Text) >= cutText && held > 0 {
			line = append(line[:len(line)-held:len(line)-held], mask...)
		}
		k.to.add(logs.Kernel, r.boot, r.Severity, line, false)
	}
	k.next = r.sequence + 1
	k.seen.WriteAt(fmt.Appendf(nil, "%020d\n", k.next), 0) // without it, records are taken twice at worst
}

func (*kernel) gap()          {} // the next record's number tells it
func (*kernel) pending() bool { return false }
func (*kernel) idle()         {}
func (k *kernel) end()        { k.seen.Close() }

// watch is told when a directory gets new files.
func watch(dir string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		if _, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("watching %s for new units: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}

// fifos opens the FIFOs of a directory that are not known, which they are then.
func fifos(dir string, known map[string]bool) ([]*os.File, error) {
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	var files []*os.File
	for _, e := range entries {
		if e.Type() != fs.ModeNamedPipe || known[e.Name()] {
			continue
		}
		// For writing too, so that there is no end of file.
		file, err := os.OpenFile(dir+"/"+e.Name(), os.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		known[e.Name()] = true
		files = append(files, file)
	}
	if err := errors.Join(errs...); err != nil {
		return files, fmt.Errorf("opening the units' output: %w", err)
	}
	return files, nil
}
