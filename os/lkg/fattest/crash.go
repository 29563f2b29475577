package fattest

import (
	"iter"
	"math/rand/v2"
	"slices"
)

// Crash is what a power cut leaves.
type Crash struct {
	Writes  int    // that were made before it
	Reorder bool   // some of which did not arrive
	Image   []byte // until the next one; it is not to be changed
}

// Point is a place for a power cut.
type Point struct {
	Writes int  // that were made before it
	Left   int  // writes until a sync
	Whole  bool // all that was written at once has been
}

// Crashes gives what is on the disk if the power is cut after each write since Record: with all the writes until
// then, and reorders times with any of those that no sync has waited for. The last one has them all.
func (d *Disk) Crashes(random *rand.Rand, reorders int) iter.Seq[Crash] {
	return d.CrashesAt(random, reorders, func(Point) bool { return true })
}

// CrashesAt is Crashes, but only where at says so.
func (d *Disk) CrashesAt(random *rand.Rand, reorders int, at func(Point) bool) iter.Seq[Crash] {
	left := make([]int, len(d.log)+1) // writes from each on up to a sync
	for i := len(d.log) - 1; i >= 0; i-- {
		if d.log[i].data != nil {
			left[i] = left[i+1] + 1
		}
	}
	return func(yield func(Crash) bool) {
		durable, all := slices.Clone(d.original), slices.Clone(d.original)
		pending := map[int][]op{} // by sector
		for i := -1; i < len(d.log); i++ {
			if i >= 0 {
				o := d.log[i]
				if o.data == nil {
					settle(durable, pending, o.owner)
					continue
				}
				pending[o.sector] = append(pending[o.sector], o)
				copy(all[o.sector*sector:], o.data)
			}
			whole := i < 0 || i+1 == len(d.log) || d.log[i].owner != d.log[i+1].owner
			if !at(Point{i + 1, left[i+1], whole}) {
				continue
			}
			if !yield(Crash{i + 1, false, all}) {
				return
			}
			for range reorders {
				if len(pending) < 2 {
					break
				}
				undo := reorder(random, durable, pending)
				if !yield(Crash{i + 1, true, durable}) {
					return
				}
				undo()
			}
		}
	}
}

// settle has the disk keep all sectors that an owner wrote to, as they are by then.
func settle(durable []byte, pending map[int][]op, owner string) {
	for s, versions := range pending {
		owned := func(o op) bool { return owner == everybody || o.owner == owner || o.owner == fatOwner }
		if slices.ContainsFunc(versions, owned) {
			copy(durable[s*sector:], versions[len(versions)-1].data)
			delete(pending, s)
		}
	}
}

// reorder leaves each sector as it was at any time since it was durable, or has what an owner wrote arrive as a whole
// or not at all. undo makes the disk durable again.
func reorder(random *rand.Rand, durable []byte, pending map[int][]op) (undo func()) {
	sectors := make([]int, 0, len(pending))
	for s := range pending {
		sectors = append(sectors, s)
	}
	slices.Sort(sectors) // so that the same seed gives the same
	before := make([]byte, 0, len(sectors)*sector)
	choose := bySector(random)
	if random.IntN(2) == 0 {
		choose = byOwner(random)
	}
	for _, s := range sectors {
		on := durable[s*sector : (s+1)*sector]
		before = append(before, on...)
		if o := choose(pending[s]); o != nil {
			copy(on, o.data)
		}
	}
	return func() {
		for i, s := range sectors {
			copy(durable[s*sector:], before[i*sector:(i+1)*sector])
		}
	}
}

// bySector chooses which of a sector's versions has arrived, nil for none.
func bySector(random *rand.Rand) func(versions []op) *op {
	return func(versions []op) *op {
		switch random.IntN(3) {
		case 0:
			return nil
		case 1:
			return &versions[len(versions)-1]
		}
		return &versions[random.IntN(len(versions))]
	}
}

// byOwner chooses the last version whose owner's writes have arrived.
func byOwner(random *rand.Rand) func(versions []op) *op {
	arrived := map[string]bool{}
	return func(versions []op) *op {
		for i := len(versions) - 1; i >= 0; i-- {
			o := &versions[i]
			if _, is := arrived[o.owner]; !is {
				arrived[o.owner] = random.IntN(2) == 0
			}
			if arrived[o.owner] {
				return o
			}
		}
		return nil
	}
}
