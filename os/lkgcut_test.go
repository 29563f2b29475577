package os_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/ember-os/ember/os/lkg/fattest"
	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/vm/disk"
)

const (
	nearSync = 4    // writes
	fewer    = 1500 // of the writes in between, one in so many
)

// TestLKGPowerCut records what a machine writes to its disk while it keeps something new, and looks at what a power
// cut would have left: after each write around a flush, and some of those that fill a file.
func TestLKGPowerCut(t *testing.T) {
	t.Parallel()
	r := newRackMachine(t, espFree)
	r.seal(configured("one")...)
	r.start()
	r.publish("first")
	r.keeps("first", "one")
	original := r.partition()
	before := content(t, original)

	// QEMU finds the files in the machine's directory.
	const image, log = "disk", "writes"
	if err := os.Rename(r.image, filepath.Join(r.config.Dir, image)); err != nil {
		t.Fatal(err)
	}
	r.image = filepath.Join(r.config.Dir, image)
	if err := os.WriteFile(filepath.Join(r.config.Dir, log), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.config.Disks = nil
	r.config.Args = []string{
		"-blockdev", "driver=file,node-name=disk,filename=/vm/" + image,
		"-blockdev", "driver=file,node-name=log,filename=/vm/" + log,
		"-blockdev", "driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size=512",
		"-device", "virtio-blk-pci,drive=logged",
	}
	r.seal(configured("two")...)
	r.publish("second")
	r.keeps("second", "two")
	after := content(t, r.partition())
	if before == after {
		t.Fatal("nothing was written")
	}

	f, err := os.Open(filepath.Join(r.config.Dir, log))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := fattest.ReadLog(f, original, disk.Start)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.Image(), r.partition()) {
		t.Fatal("what was recorded does not lead to what is on the disk")
	}
	cuts, bad, outcomes := 0, 0, map[state.Content]bool{}
	at := func(writes, left int) bool { return left < nearSync || writes%fewer == 0 }
	for c := range d.CrashesAt(rand.New(rand.NewPCG(1, 2)), 1, at) {
		cuts++
		f := fattest.From(c.Image)
		if err := fattest.Check(t.Context(), f, slotA, before, after); err != nil {
			if bad++; bad < 5 {
				t.Errorf("after %d writes, reordered %v: %v", c.Writes, c.Reorder, err)
			}
			continue
		}
		outcomes[content(t, c.Image)] = true
	}
	t.Logf("%d cuts, %d of them unbootable", cuts, bad)
	if cuts < 50 || len(outcomes) != 2 {
		t.Errorf("%d cuts, %d outcomes: the test tests nothing", cuts, len(outcomes))
	}
}

// content is what the good slot of a partition holds.
func content(t *testing.T, partition []byte) state.Content {
	t.Helper()
	s, err := slot.Open(fattest.From(partition), slotA, state.None)
	if err != nil {
		t.Fatal(err)
	}
	return s.Record().Content(s.Record().Good)
}
