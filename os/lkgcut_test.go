package os_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ember-os/ember/os/lkg/fattest"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/disk"
)

const (
	nearSync = 8    // sectors
	reorders = 20   // of the writes before a cut
	fewest   = 2000 // cuts
	workers  = 2    // that look at them, always as many: each has a seed of its own
)

// TestLKGPowerCut records what a machine writes to its disk while it keeps something new, and looks at what a power
// cut would have left: after each write, in the middle of those around a flush, and with any of the writes that no
// flush has waited for.
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
	var mu sync.Mutex
	cuts, bad, outcomes, last := map[bool]int{}, 0, map[state.Content]bool{}, 0
	look := func(c fattest.Crash) {
		good, err := fattest.Check(t.Context(), fattest.From(c.Image), slotA, before, after)
		mu.Lock()
		defer mu.Unlock()
		cuts[c.Reorder]++
		last = max(last, c.Writes)
		if err == nil {
			outcomes[good] = true
		} else if bad++; bad < 5 {
			t.Errorf("after %d sectors, reordered %v: %v", c.Writes, c.Reorder, err)
		}
	}
	// How many writes there are depends on the machine's speed: a quick one gathers more in each. Other orders make up
	// for that.
	for seed := uint64(1); seed == 1 || cuts[true] > 0 && cuts[false]+cuts[true] < fewest; seed++ {
		var running sync.WaitGroup
		for worker := range workers { // each does its share of the points
			running.Go(func() {
				n := 0
				at := func(p fattest.Point) bool {
					if !p.Whole && p.Left >= nearSync {
						return false
					}
					n++
					return n%workers == worker
				}
				for c := range d.CrashesAt(rand.New(rand.NewPCG(seed, uint64(worker))), reorders, at) {
					if c.Reorder || seed == 1 {
						look(c)
					}
				}
			})
		}
		running.Wait()
	}
	all := cuts[false] + cuts[true]
	t.Logf("%d cuts, of which %d have writes in another order; %d are unbootable", all, cuts[true], bad)
	if all < fewest || len(outcomes) != 2 {
		t.Errorf("%d cuts, %d outcomes: the test tests too little", all, len(outcomes))
	}

	// A machine whose power was cut in the middle. Its firmware has been told of the slot that is not there.
	for c := range d.CrashesAt(nil, 0, func(p fattest.Point) bool { return p.Writes == last/2 }) {
		writeAt(t, r.image, disk.Start, c.Image)
	}
	r.config.Args, r.config.Disks = nil, []vm.Disk{{Path: r.image}}
	m := r.boot(false)
	runs(m, "first")
	must(t, reach(m, machine.Netboot), "from=disk")
	must(t, reach(m, machine.Kept), "from=disk", "why=")
	m.Close()
	r.good()
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
