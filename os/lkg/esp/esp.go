// Package esp finds the EFI system partition that keeps the last-known-good system, and mounts it.
//
// Of several it is the one that the machine was booted from, else the one whose name is Label; without these, none:
// a machine's owner says which. Partitions on removable disks do not count. What can only be read, or holds no FAT
// filesystem, is reported and left as it is. Nothing here writes, but for the kernel, which marks a filesystem as in
// use when it mounts it. Not for PID 1.
package esp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ember-os/ember/os/hardware"
	"github.com/ember-os/ember/os/lkg/efiboot"
)

// Label is the name, in the GPT, of the partition to take if there are several.
const Label = "ember-lkg"

// What is wrong, besides errors of disks.
var (
	ErrNone     = errors.New("no disk has an EFI system partition")
	ErrReadOnly = errors.New("it can only be read")
	ErrNoFAT    = errors.New("it holds no FAT filesystem")
)

// Partition is an EFI system partition.
type Partition struct {
	efiboot.Partition
	Name  string // of the block device, as in /dev
	Label string // in the GPT
}

// Find finds the partition. The hints are partitions that the machine was booted from, the best first; those that
// are zero, or not there, do not count. root is that of dev and sys: "/". The error tells of disks that can not be
// read only if nothing is found.
func Find(root string, hints ...efiboot.GUID) (Partition, error) {
	all, err := list(root)
	for _, h := range hints {
		if i := slices.IndexFunc(all, func(p Partition) bool { return p.GUID == h && h != (efiboot.GUID{}) }); i >= 0 {
			return all[i], nil
		}
	}
	if len(all) == 0 {
		return Partition{}, errors.Join(ErrNone, err)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	labelled := slices.DeleteFunc(slices.Clone(all), func(p Partition) bool { return p.Label != Label })
	if len(labelled) == 1 {
		return labelled[0], nil
	}
	var names []string
	for _, p := range all {
		names = append(names, "/dev/"+p.Name)
	}
	return Partition{}, fmt.Errorf("there are several EFI system partitions (%s), and the machine was booted from none of them; give the one to use the name %q in the GPT (sgdisk -c)",
		strings.Join(names, ", "), Label)
}

// list is all that there are.
func list(root string) ([]Partition, error) {
	var all []Partition
	var errs []error
	for _, d := range hardware.Disks(root) {
		if number(root, d.Name, "removable") == 1 {
			continue
		}
		t, err := readDisk(root, d.Name)
		if err != nil && err != errNoTable {
			errs = append(errs, fmt.Errorf("/dev/%s: %w", d.Name, err))
		}
		for _, e := range t {
			if e.kind != systemPartition {
				continue
			}
			if name := partition(root, d.Name, e.Number); name != "" {
				all = append(all, Partition{e.Partition, name, e.name})
			}
		}
	}
	return all, errors.Join(errs...)
}

func readDisk(root, name string) (table, error) {
	f, err := os.Open(filepath.Join(root, "dev", name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readTable(f, number(root, name, "size")*512, number(root, name, "queue/logical_block_size"))
}

// partition is the name of a disk's partition, "" if the kernel does not have it.
func partition(root, disk string, want uint32) string {
	dir := filepath.Join(root, "sys/block", disk)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if number(root, disk, e.Name()+"/partition") == int64(want) {
			return e.Name()
		}
	}
	return ""
}

// number reads one of sysfs, 0 if there is none.
func number(root, disk, file string) int64 {
	text, err := os.ReadFile(filepath.Join(root, "sys/block", disk, file))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
