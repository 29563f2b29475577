package main

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/ember-os/ember/os/lkg/fattest"
	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/vm/disk"
)

// content is what the machine keeps on its disk.
type content struct {
	good    which
	slot    state.Content // what is in that
	overlay uint64        // version
}

// which is a slot, for people.
type which state.Slot

func (w which) String() string { return "slot " + state.Slot(w).String() }

// onDisk reads the EFI system partition, and makes sure that the good slot is whole.
func (r *rack) onDisk(ctx context.Context) (content, error) {
	partition, err := disk.Partition(r.disk)
	if err != nil {
		return content{}, err
	}
	s, err := slot.Open(fattest.From(partition), slot.DefaultPaths["amd64"], state.None)
	if err != nil {
		return content{}, err
	}
	record := s.Record()
	c := content{which(record.Good), record.Content(record.Good), record.Overlay}
	if record.Good == state.None {
		return c, fmt.Errorf("no slot on the disk is good")
	}
	return c, s.Verify(ctx, record.Good)
}

// untouched makes sure that the disk holds what was kept.
func (r *rack) untouched(ctx context.Context) error {
	c, err := r.onDisk(ctx)
	if err == nil && c != r.good {
		err = fmt.Errorf("the disk held %v, and now %v", r.good, c)
	}
	return err
}

// is tells whether a program is what is kept.
func (c content) is(program []byte) bool {
	return c.slot.System == state.Image{Size: int64(len(program)), SHA256: sha256.Sum256(program)}
}

func (c content) String() string {
	return fmt.Sprintf("%v has %s, sha256 %x…, and overlay version %d", c.good, megabytes(c.slot.System.Size), c.slot.System.SHA256[:4], c.overlay)
}
