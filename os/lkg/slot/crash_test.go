package slot_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ember-os/ember/os/lkg/fattest"
	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/nstest"
	"golang.org/x/sys/unix"
)

// bootable says what is wrong with a disk.
func bootable(ctx context.Context, f slot.FS, old, new slot.Candidate) error {
	_, err := fattest.Check(ctx, f, defaultPath, old.Content, new.Content)
	return err
}

// TestPowerCut cuts the power at each write of a commit, with all writes until then and with some that did not
// arrive, and after each cut commits again.
func TestPowerCut(t *testing.T) {
	for _, tt := range []struct {
		name     string
		before   [][]byte
		next     []byte
		reorders int
	}{
		{"to A", [][]byte{one, two}, three, 4},
		{"to B", [][]byte{one}, two, 4},
		{"to B again", [][]byte{one, three, one}, two, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := fattest.New(4085)
			mkdirs(t, d, "EFI", "EFI/BOOT")
			var old slot.Candidate
			for _, b := range tt.before {
				old = candidate(b, config)
				commit(t, d, old)
			}
			d.Record()
			next := candidate(tt.next, config)
			commit(t, d, next)
			random := rand.New(rand.NewPCG(1, 2))
			cuts, bad, both := 0, 0, map[state.Image]bool{}
			for c := range d.Crashes(random, tt.reorders) {
				cuts++
				f := fattest.From(c.Image)
				if err := bootable(t.Context(), f, old, next); err != nil {
					bad++
					if bad < 5 {
						t.Errorf("after %d writes, reordered %v: %v", c.Writes, c.Reorder, err)
					}
					continue
				}
				r := open(t, f).Record()
				both[r.Content(r.Good).System] = true
				if cuts%7 == 0 { // what comes after works
					f = fattest.From(slices.Clone(c.Image))
					commit(t, f, next)
					if err := bootable(t.Context(), f, next, next); err != nil {
						t.Errorf("after %d writes and another commit: %v", c.Writes, err)
					}
				}
			}
			t.Logf("%d cuts, %d of them unbootable", cuts, bad)
			if cuts < 700 || len(both) != 2 {
				t.Errorf("%d cuts, %d outcomes: the test tests nothing", cuts, len(both))
			}
		})
	}
}

// TestFirstPowerCut is a commit to an ESP without anything.
func TestFirstPowerCut(t *testing.T) {
	d := fattest.New(4085)
	first := candidate(one, config)
	commit(t, d, first)
	for c := range d.Crashes(rand.New(rand.NewPCG(3, 4)), 2) {
		f := fattest.From(c.Image)
		s, err := slot.Open(f, defaultPath, state.None)
		if err != nil { // a directory that is half there
			continue
		}
		good, err := s.Good(t.Context())
		if good == state.None && s.Record().Good != state.None {
			t.Errorf("after %d writes: %v", c.Writes, err)
		}
	}
}

// TestPowerCutWithoutState begins with both records of the state bad. A boot is counted, and something new is kept.
func TestPowerCutWithoutState(t *testing.T) {
	d := fattest.New(4085)
	commit(t, d, candidate(one, config))
	commit(t, d, candidate(two, config))
	for _, at := range []int64{20, state.Stride + 20} {
		write(t, d, slot.StateFile, at, []byte{0xff})
	}
	d.Record()
	if err := openHint(t, d, state.B).Attempt(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit(t, d, candidate(three, config))
	cuts, outcomes := 0, map[state.Slot]bool{}
	for c := range d.Crashes(rand.New(rand.NewPCG(7, 8)), 4) {
		cuts++
		f := fattest.From(c.Image)
		s := openHint(t, f, state.B)
		good, err := s.Good(t.Context())
		want := map[state.Slot][]byte{state.A: three, state.B: two}[good]
		if want == nil || !bytes.Equal(read(t, f, s.System(good)), want) || !bytes.Equal(read(t, f, s.Config(good)), config) {
			t.Fatalf("after %d writes, reordered %v, slot %v is good: %v", c.Writes, c.Reorder, good, err)
		}
		outcomes[good] = true
	}
	t.Logf("%d cuts", cuts)
	if cuts < 700 || len(outcomes) != 2 {
		t.Errorf("%d cuts, %d outcomes: the test tests nothing", cuts, len(outcomes))
	}
}

// TestInPlaceIsFound makes sure that the test finds what is wrong with a writer that writes in place.
func TestInPlaceIsFound(t *testing.T) {
	d := fattest.New(4085)
	commit(t, d, candidate(one, nil))
	commit(t, d, candidate(two, nil))
	d.Record()
	s := open(t, d)
	write(t, d, s.System(state.B), 0, three)
	bad := 0
	for c := range d.Crashes(rand.New(rand.NewPCG(5, 6)), 1) {
		if bootable(t.Context(), fattest.From(c.Image), candidate(two, nil), candidate(three, nil)) != nil {
			bad++
		}
	}
	if bad < 10 {
		t.Errorf("only %d cuts are found bad", bad)
	}
}

func TestFull(t *testing.T) {
	d := fattest.New(4085)
	commit(t, d, candidate(one, config))
	before := read(t, d, defaultPath)
	free, _ := d.Free()
	large := program(7, int(free)-100000)
	_, err := open(t, d).Commit(t.Context(), candidate(large, config))
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "remove what is not used") {
		t.Error(err)
	}
	if good, err := open(t, d).Good(t.Context()); good != state.A || err != nil || string(read(t, d, defaultPath)) != string(before) {
		t.Errorf("%v, %v", good, err)
	}
	d = fattest.New(4085) // room for one is not enough at first
	_, err = open(t, d).Commit(t.Context(), candidate(program(7, 1<<20), nil))
	if !errors.Is(err, unix.ENOSPC) {
		t.Error(err)
	}
}

// TestWriteFails has a disk that fails, or can only be read, after any number of writes.
func TestWriteFails(t *testing.T) {
	for _, failure := range []error{unix.EIO, unix.EROFS, unix.ENOSPC} {
		for limit := 0; ; limit += 9 {
			d := fattest.New(4085)
			commit(t, d, candidate(one, config))
			d.Err, d.Limit = failure, limit
			_, err := open(t, d).Commit(t.Context(), candidate(two, config))
			left := d.Limit
			d.Err = nil
			if bad := bootable(t.Context(), d, candidate(one, config), candidate(two, config)); bad != nil {
				t.Fatalf("%v after %d writes: %v", failure, limit, bad)
			}
			if err == nil && left > 0 {
				break
			}
			if !errors.Is(err, failure) {
				t.Fatalf("%v after %d writes: %v", failure, limit, err)
			}
		}
	}
}

// TestReadOnly has an ESP that the kernel mounted read-only, or made so.
func TestReadOnly(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f := slot.Dir{Root: root}
	commit(t, f, candidate(one, config))
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s := open(t, f)
	if good, err := s.Good(t.Context()); good != state.A || err != nil {
		t.Errorf("%v, %v", good, err)
	}
	if _, err := s.Commit(t.Context(), candidate(two, config)); !errors.Is(err, unix.EROFS) {
		t.Error(err)
	}
}
