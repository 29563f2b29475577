package fattest

import (
	"iter"
	"math/rand/v2"
	"slices"
)

// Crash is what a power cut leaves.
type Crash struct {
	Writes  int  // that were made before it
	Reorder bool // some of which did not arrive
	Image   []byte
}

// Crashes gives what is on the disk if the power is cut after each write since Record: with all the writes until
// then, and reorders times with any of those that no sync has waited for. The last one has them all.
func (d *Disk) Crashes(random *rand.Rand, reorders int) iter.Seq[Crash] {
	return d.CrashesAt(random, reorders, func(int, int) bool { return true })
}

// CrashesAt is Crashes, but only where at says so. It gets the number of writes, and how many more there are until a
// sync.
func (d *Disk) CrashesAt(random *rand.Rand, reorders int, at func(writes, left int) bool) iter.Seq[Crash] {
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
			if !at(i+1, left[i+1]) {
				continue
			}
			if !yield(Crash{i + 1, false, slices.Clone(all)}) {
				return
			}
			for range reorders {
				if len(pending) > 1 && !yield(Crash{i + 1, true, reorder(random, durable, pending)}) {
					return
				}
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

// reorder leaves each sector as it was at any time since it was durable.
func reorder(random *rand.Rand, durable []byte, pending map[int][]op) []byte {
	image := slices.Clone(durable)
	sectors := make([]int, 0, len(pending))
	for s := range pending {
		sectors = append(sectors, s)
	}
	slices.Sort(sectors) // so that the same seed gives the same
	for _, s := range sectors {
		versions := pending[s]
		switch n := random.IntN(3); {
		case n == 0:
		case n == 1:
			copy(image[s*sector:], versions[len(versions)-1].data)
		default:
			copy(image[s*sector:], versions[random.IntN(len(versions))].data)
		}
	}
	return image
}
