// Package lsblk shows the block devices as lsblk(8) does without options: each with
// its partitions, and what is made of them, below it, and where they are mounted.
// Memory disks and those of size 0 are left out. Branches are drawn in ASCII.
package lsblk

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ember-os/ember/os/cli"
)

const usage = `usage: lsblk

Lists the block devices, with their partitions and where they are mounted.
`

const (
	sectorSize = 512 // what sysfs counts in, whatever the disk does
	ramMajor   = "1:"
	maxDepth   = 16 // of devices that are made of others
)

// Main is the program.
func Main(args []string) int {
	return cli.Run("lsblk", usage, args, cli.Command{Run: func(_ context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return list(os.Stdout, "/")
	}})
}

// lister collects the rows of a machine whose proc and sys are in root.
type lister struct {
	root   string
	mounts map[string][]string // by device number
	rows   [][]string
}

func list(w io.Writer, root string) error {
	l := lister{root: root, rows: [][]string{{"NAME", "MAJ:MIN", "RM", "SIZE", "RO", "TYPE", "MOUNTPOINTS"}}}
	info, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return fmt.Errorf("reading what is mounted: %w", err)
	}
	l.mounts = parseMounts(info)
	names, err := names(filepath.Join(root, "sys/block"))
	if err != nil {
		return fmt.Errorf("listing block devices: %w", err)
	}
	for _, name := range names {
		dir := filepath.Join(root, "sys/block", name)
		madeOf, _ := os.ReadDir(filepath.Join(dir, "slaves"))
		if len(madeOf) == 0 { // else it is below those
			l.add(dir, "", "", 0)
		}
	}
	_, err = w.Write(table(l.rows))
	return err
}

// add adds a device and those below it. The prefix is what is drawn in front of its
// name, and behind of the names below.
func (l *lister) add(dir, prefix, below string, depth int) {
	number, size := text(dir, "dev"), sectors(dir)*sectorSize
	if size == 0 || strings.HasPrefix(number, ramMajor) || depth == maxDepth {
		return
	}
	removable := text(dir, "removable")
	if removable == "" { // a partition
		removable = text(dir, "../removable")
	}
	mounts := l.mounts[number]
	if len(mounts) == 0 {
		mounts = []string{""}
	}
	l.rows = append(l.rows, []string{prefix + filepath.Base(dir), aligned(number), removable, human(size), text(dir, "ro"), kind(dir), mounts[0]})
	for _, more := range mounts[1:] {
		l.rows = append(l.rows, []string{below, "", "", "", "", "", more})
	}
	children := l.children(dir)
	for i, child := range children {
		if i == len(children)-1 {
			l.add(child, below+"`-", below+"  ", depth+1)
		} else {
			l.add(child, below+"|-", below+"| ", depth+1)
		}
	}
}

// aligned puts the colons of device numbers below each other.
func aligned(number string) string {
	major, minor, _ := strings.Cut(number, ":")
	return fmt.Sprintf("%3s:%-3s", major, minor)
}

// children is a device's partitions and what is made of it.
func (l *lister) children(dir string) []string {
	var dirs []string
	partitions, _ := names(dir) // what can not be read is not there
	for _, name := range partitions {
		if text(dir, name, "partition") != "" {
			dirs = append(dirs, filepath.Join(dir, name))
		}
	}
	holders, _ := names(filepath.Join(dir, "holders"))
	for _, name := range holders {
		dirs = append(dirs, filepath.Join(l.root, "sys/block", name))
	}
	return dirs
}

// kind is what lsblk calls the type of a device.
func kind(dir string) string {
	name := filepath.Base(dir)
	switch {
	case text(dir, "partition") != "":
		return "part"
	case text(dir, "dm/uuid") != "":
		by, _, _ := strings.Cut(text(dir, "dm/uuid"), "-")
		return strings.ToLower(by)
	case text(dir, "md/level") != "":
		return text(dir, "md/level")
	case strings.HasPrefix(name, "sr"):
		return "rom"
	case strings.HasPrefix(name, "loop"):
		return "loop"
	case strings.HasPrefix(name, "dm-"):
		return "dm"
	}
	return "disk"
}

// parseMounts reads proc_pid_mountinfo(5). Lines that it does not understand are left out.
func parseMounts(info []byte) map[string][]string {
	mounts := map[string][]string{}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, " ", `\012`, " ", `\134`, `\`)
	for line := range strings.Lines(string(info)) {
		const numberAt, pointAt = 2, 4
		fields := strings.Fields(line)
		if len(fields) <= pointAt {
			continue
		}
		point := unescape.Replace(fields[pointAt])
		if all := mounts[fields[numberAt]]; !slices.Contains(all, point) {
			mounts[fields[numberAt]] = append(all, point)
		}
	}
	return mounts
}

// human is a size as lsblk shows it, such as 1.5G, with at most one decimal.
func human(bytes uint64) string {
	units := "BKMGTPE"
	value, unit := float64(bytes), 0
	for ; value >= 1024 && unit < len(units)-1; unit++ {
		value /= 1024
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0") + units[unit:unit+1]
}

// table gives columns their widths, and has numbers end below each other.
func table(rows [][]string) []byte {
	const removable, size, readOnly = 2, 3, 4
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var b bytes.Buffer
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			width := -widths[i] // to the left
			if i == removable || i == size || i == readOnly {
				width = widths[i]
			}
			fmt.Fprintf(&line, "%*s ", width, cell)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.Bytes()
}

// names is what is in a directory, sda2 before sda10.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.Name()
	}
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	return all, err
}

// text is a file of one line, "" if it can not be read.
func text(name ...string) string {
	b, err := os.ReadFile(filepath.Join(name...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func sectors(dir string) uint64 {
	n, err := strconv.ParseUint(text(dir, "size"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
