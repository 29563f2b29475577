package scratch

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/hardware"
)

// await finds the disk, which the kernel may still be looking for, and gives its name
// below /dev.
func (s system) await(ctx context.Context, log *slog.Logger, disk cmdline.Disk) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.appear)
	defer cancel()
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for waiting := false; ; waiting = true {
		names := s.find(disk)
		switch {
		case len(names) == 1:
			return names[0], nil
		case len(names) > 1:
			return "", fmt.Errorf("%s is the name of several disks: %s; use another", disk, strings.Join(names, ", "))
		case !waiting:
			log.Info("waiting for a disk", "disk", disk.String(), "most", s.appear)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return "", fmt.Errorf("there is no disk %s; ember status shows those there are", disk)
		}
	}
}

// find gives the names of all disks and partitions that are called so.
func (s system) find(disk cmdline.Disk) []string {
	if disk.Tag == "" {
		name := strings.TrimPrefix(disk.Value, "/dev/")
		if _, err := os.Stat(s.path("sys/class/block", name)); err != nil {
			return nil
		}
		return []string{name}
	}
	var names []string
	for _, d := range hardware.Disks(s.root) {
		for _, name := range append(s.partitions(d.Name), d.Name) {
			if s.isCalled(disk, d, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// isCalled tells whether a disk, or the partition of it with the given name, is
// called so.
func (s system) isCalled(disk cmdline.Disk, d hardware.Disk, name string) bool {
	switch disk.Tag {
	case cmdline.Serial:
		return name == d.Name && d.Serial == disk.Value
	case cmdline.PartLabel:
		return s.partLabel(name) == disk.Value
	}
	f, err := os.Open(s.path("dev", name))
	if err != nil {
		return false
	}
	defer f.Close()
	c, err := identify(f)
	if err != nil {
		return false
	}
	return disk.Tag == cmdline.Label && c.label == disk.Value || disk.Tag == cmdline.UUID && c.uuid != "" && strings.EqualFold(c.uuid, disk.Value)
}

func (s system) partLabel(name string) string {
	event, _ := os.ReadFile(s.path("sys/class/block", name, "uevent"))
	for line := range strings.Lines(string(event)) {
		if label, ok := strings.CutPrefix(line, "PARTNAME="); ok {
			return strings.TrimSuffix(label, "\n")
		}
	}
	return ""
}

// partitions gives the names of a disk's partitions.
func (s system) partitions(name string) []string {
	var names []string
	for _, entry := range s.list("sys/class/block", name) {
		if _, err := os.Stat(s.path("sys/class/block", name, entry, "partition")); err == nil {
			names = append(names, entry)
		}
	}
	return names
}

// list is the names in a directory, none if there is no such directory.
func (s system) list(dir ...string) []string {
	entries, err := os.ReadDir(s.path(dir...))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
