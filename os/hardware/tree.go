package hardware

import (
	"cmp"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// tree is the directory that holds proc and sys. What can not be read is empty.
type tree string

func (t tree) path(name ...string) string {
	return filepath.Join(append([]string{string(t)}, name...)...)
}

// maxFile is more than any file of interest has, /proc/cpuinfo of a machine with
// thousands of processors included.
const maxFile = 16 << 20

func (t tree) bytes(name ...string) []byte {
	f, err := os.Open(t.path(name...))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil
	}
	return b
}

// text is a file of one line, as it may be shown to people.
func (t tree) text(name ...string) string {
	return clean(string(t.bytes(name...)))
}

func (t tree) number(name ...string) uint64 {
	n, err := strconv.ParseUint(t.text(name...), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (t tree) exists(name ...string) bool {
	_, err := os.Lstat(t.path(name...))
	return err == nil
}

// list is the names in a directory, in the order in which they are given: sdb before
// sdaa, eth2 before eth10.
func (t tree) list(name ...string) []string {
	entries, err := os.ReadDir(t.path(name...))
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	return names
}

// link is the last part of what a link leads to: the name of a driver.
func (t tree) link(name ...string) string {
	target, err := os.Readlink(t.path(name...))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// device is the path of a device in sysfs, by its controllers, below root.
func (t tree) device(name ...string) string {
	path, err := filepath.EvalSymlinks(t.path(name...))
	if err != nil {
		return ""
	}
	root, err := filepath.EvalSymlinks(string(t))
	if err != nil {
		return ""
	}
	path, err = filepath.Rel(root, path)
	if err != nil {
		return ""
	}
	return path
}

// clean makes what firmware and disks say fit for a terminal.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}
