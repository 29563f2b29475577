package slot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
)

const defaultPath = "EFI/BOOT/BOOTX64.EFI"

var (
	one, two, three = program(1, 20000), program(2, 21000), program(3, 19000)
	config          = []byte("the overlay")
)

func TestCommits(t *testing.T) {
	systems(t, func(t *testing.T, f slot.FS) {
		s := open(t, f)
		if good, err := s.Good(t.Context()); good != state.None || err != nil || s.Record() != (state.Record{}) {
			t.Fatalf("empty: %v, %v", good, err)
		}
		for i, tt := range []struct {
			system, config []byte
			good           state.Slot
			written        bool
		}{
			{one, config, state.A, true},
			{one, config, state.A, false},
			{two, nil, state.B, true},
			{two, nil, state.B, false},
			{two, config, state.A, true}, // another configuration is another slot
			{three, config, state.B, true},
			{program(4, 100), config, state.A, true},
			{program(5, 4096), config, state.B, true},
			{program(6, 4097), nil, state.A, true},
		} {
			other := read(t, f, s.System(tt.good.Other()))
			c := candidate(tt.system, tt.config)
			c.Overlay, c.Resets = uint64(i), uint32(i)
			if !tt.written {
				c.System = func() (io.ReadCloser, error) { return nil, errors.New("what is there already was opened") }
			}
			res := commit(t, f, c)
			s = open(t, f)
			r := s.Record()
			if res.Good != tt.good || res.Written != tt.written || res.Warning != nil {
				t.Errorf("%d: %+v", i, res)
			}
			if r.Good != tt.good || r.Overlay != c.Overlay || r.Resets != c.Resets || !r.TPM || !r.Success.Equal(c.Success) || r.Content(r.Good) != c.Content {
				t.Errorf("%d: %+v", i, r)
			}
			if !bytes.Equal(read(t, f, s.System(tt.good)), tt.system) || !bytes.Equal(read(t, f, s.Config(tt.good)), tt.config) {
				t.Errorf("%d: the files are others", i)
			}
			if !bytes.Equal(read(t, f, s.System(tt.good.Other())), other) {
				t.Errorf("%d: the other slot has changed", i)
			}
			if good, err := s.Good(t.Context()); good != tt.good || err != nil {
				t.Errorf("%d: %v, %v", i, good, err)
			}
		}
		if got := s.System(state.A); got != defaultPath {
			t.Errorf("slot A is %s", got)
		}
	})
}

// corrupt changes a byte in the middle of a file.
func corrupt(t *testing.T, f slot.FS, name string) {
	t.Helper()
	b := read(t, f, name)
	write(t, f, name, int64(len(b)/2), []byte{b[len(b)/2] ^ 1})
}

func TestBadSlot(t *testing.T) {
	systems(t, func(t *testing.T, f slot.FS) {
		commit(t, f, candidate(one, config))
		commit(t, f, candidate(two, config))
		s := open(t, f)
		corrupt(t, f, s.System(state.B))
		if good, err := s.Good(t.Context()); good != state.A || !errors.Is(err, slot.ErrDamaged) {
			t.Fatalf("good state with a bad slot: %v, %v", good, err)
		}
		res := commit(t, f, candidate(two, config)) // the same again: the state says that it is there
		if !res.Written || res.Good != state.B || !errors.Is(res.Warning, slot.ErrDamaged) || !bytes.Equal(read(t, f, s.System(state.A)), one) {
			t.Errorf("%+v", res)
		}
		corrupt(t, f, s.Config(state.B))
		if good, err := s.Good(t.Context()); good != state.A || err == nil {
			t.Errorf("a bad configuration: %v, %v", good, err)
		}
		corrupt(t, f, s.System(state.A))
		if good, err := s.Good(t.Context()); good != state.None || !errors.Is(err, slot.ErrDamaged) {
			t.Errorf("both slots bad: %v, %v", good, err)
		}
		if res := commit(t, f, candidate(three, config)); !res.Written || res.Warning == nil {
			t.Errorf("%+v", res)
		}
		if good, err := open(t, f).Good(t.Context()); good == state.None || err != nil {
			t.Errorf("%v, %v", good, err)
		}
	})
}

// remove removes the state, and can make it anew with so many bytes, all zero.
func remove(t *testing.T, f slot.FS, size int) {
	t.Helper()
	if err := f.Remove(slot.StateFile); err != nil {
		t.Fatal(err)
	}
	if size >= 0 {
		write(t, f, slot.StateFile, 0, make([]byte, size))
	}
}

// losses are the ways to lose the state, with what is said of each.
var losses = map[string]struct {
	lose func(t *testing.T, f slot.FS)
	says string
}{
	"changed": {func(t *testing.T, f slot.FS) {
		write(t, f, slot.StateFile, 20, []byte{0xff})
		write(t, f, slot.StateFile, state.Stride+20, []byte{0xff})
	}, "both records"},
	"zeros":   {func(t *testing.T, f slot.FS) { remove(t, f, state.FileSize) }, "is lost"},
	"empty":   {func(t *testing.T, f slot.FS) { remove(t, f, 0) }, "is lost"},
	"no file": {func(t *testing.T, f slot.FS) { remove(t, f, -1) }, "is lost"},
}

func TestBothStateSectorsBad(t *testing.T) {
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) { testStateLost(t, loss.lose, loss.says) })
	}
}

func testStateLost(t *testing.T, lose func(*testing.T, slot.FS), says string) {
	for _, tt := range []struct {
		hint, want state.Slot
	}{{state.B, state.B}, {state.A, state.A}, {state.None, state.A}} {
		systems(t, func(t *testing.T, f slot.FS) {
			commit(t, f, candidate(one, config))
			commit(t, f, candidate(two, config))
			lose(t, f)
			s := openHint(t, f, tt.hint)
			if good, err := s.Good(t.Context()); good != tt.want || err == nil || !strings.Contains(err.Error(), says) || s.Err() == nil {
				t.Fatalf("hint %v: %v, %v", tt.hint, good, err)
			}
			kept := read(t, f, s.System(tt.want))
			c := candidate(three, config)
			c.System = func() (io.ReadCloser, error) { // the power is cut before the new one is there
				return nil, errors.New("cut")
			}
			if _, err := s.Commit(t.Context(), c); err == nil {
				t.Fatal("committed")
			}
			if good, _ := open(t, f).Good(t.Context()); good != tt.want {
				t.Errorf("hint %v: forgotten by a commit that was cut: %v", tt.hint, good)
			}
			if res := commit(t, f, candidate(three, config)); res.Good != tt.want.Other() {
				t.Errorf("hint %v: %+v", tt.hint, res)
			}
			if !bytes.Equal(read(t, f, s.System(tt.want)), kept) {
				t.Errorf("hint %v: the good slot has changed", tt.hint)
			}
			if open(t, f).System(state.A) != defaultPath {
				t.Errorf("hint %v: slot A is not at the default path any more", tt.hint)
			}
		})
	}
}

// TestOneStateSectorBad has either record bad after a commit: the other one does not lead to what was good before,
// whose configuration can not be opened any more.
func TestOneStateSectorBad(t *testing.T) {
	for _, at := range []int64{20, state.Stride + 20} {
		systems(t, func(t *testing.T, f slot.FS) {
			commit(t, f, candidate(one, config))
			commit(t, f, candidate(one, []byte("another overlay")))
			write(t, f, slot.StateFile, at, []byte{0xff})
			if good, _ := open(t, f).Good(t.Context()); good != state.B {
				t.Errorf("with byte %d bad slot %v is good", at, good)
			}
		})
	}
}

// TestStateSectorsBadCounted counts a boot, or a success, where both records are bad: what is good is not forgotten.
func TestStateSectorsBadCounted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		count func(context.Context, *slot.Store) error
		want  uint32
	}{
		{"attempt", func(ctx context.Context, s *slot.Store) error { return s.Attempt(ctx) }, 1},
		{"success", func(ctx context.Context, s *slot.Store) error {
			return s.Success(ctx, slot.Candidate{Success: time.Now()})
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			systems(t, func(t *testing.T, f slot.FS) {
				commit(t, f, candidate(one, config))
				commit(t, f, candidate(two, nil))
				write(t, f, slot.StateFile, 20, []byte{0xff})
				write(t, f, slot.StateFile, state.Stride+20, []byte{0xff})
				if err := tt.count(t.Context(), openHint(t, f, state.B)); err != nil {
					t.Fatal(err)
				}
				s := open(t, f)
				if good, _ := s.Good(t.Context()); good != state.B || s.Err() != nil {
					t.Fatalf("slot %v is good: %v", good, s.Err())
				}
				if got := s.Record().Failures(0, false); got != tt.want {
					t.Errorf("%d failures, want %d", got, tt.want)
				}
				if err := s.Verify(t.Context(), state.A); err != nil || s.Record().Slots[0] != candidate(one, config).Content {
					t.Errorf("the other slot: %v", err)
				}
				// What was written to the default path is known to be ours.
				if res := commit(t, f, candidate(three, config)); res.Good != state.A || open(t, f).System(state.A) != defaultPath {
					t.Errorf("%+v", res)
				}
			})
		})
	}
}

func TestDefaultPathOfOthers(t *testing.T) {
	systems(t, func(t *testing.T, f slot.FS) {
		mkdirs(t, f, "EFI", "EFI/BOOT")
		other := program(9, 700)
		write(t, f, defaultPath, 0, other)
		commit(t, f, candidate(one, config))
		if got := open(t, f).System(state.A); got != "EFI/EMBERA/BOOT.EFI" {
			t.Errorf("slot A is %s", got)
		}
		commit(t, f, candidate(two, config))
		commit(t, f, candidate(three, config))
		if !bytes.Equal(read(t, f, defaultPath), other) {
			t.Error("what was at the default path has changed")
		}
	})
}

func TestDefaultPathTaken(t *testing.T) {
	systems(t, func(t *testing.T, f slot.FS) {
		commit(t, f, candidate(one, config))
		commit(t, f, candidate(two, config))
		if err := f.Remove(defaultPath); err != nil {
			t.Fatal(err)
		}
		other := program(9, 700)
		write(t, f, defaultPath, 0, other)
		res := commit(t, f, candidate(three, config))
		s := open(t, f)
		if good, err := s.Good(t.Context()); res.Good != state.A || good != state.A || err != nil || s.System(state.A) == defaultPath {
			t.Errorf("%+v, %v, %v", res, good, err)
		}
		if !bytes.Equal(read(t, f, defaultPath), other) {
			t.Error("what somebody else put at the default path has changed")
		}
	})
}

func TestNotAsPromised(t *testing.T) {
	systems(t, func(t *testing.T, f slot.FS) {
		commit(t, f, candidate(one, config))
		for name, b := range map[string][]byte{"other": program(8, len(two)), "short": two[:len(two)-1], "none": nil} {
			c := candidate(two, config)
			c.System = opener(b)
			s := open(t, f)
			if _, err := s.Commit(t.Context(), c); err == nil {
				t.Errorf("%s: committed", name)
			}
			if s = open(t, f); s.Record().Good != state.A || read(t, f, s.System(state.B)) != nil {
				t.Errorf("%s: %+v", name, s.Record())
			}
		}
	})
}

// forgetful is a disk that does not keep what is written to a file.
type forgetful struct {
	slot.FS
	name string
}

func (f forgetful) Create(name string) (slot.File, error) {
	file, err := f.FS.Create(name)
	if err == nil && name == f.name {
		file = forgetfulFile{file}
	}
	return file, err
}

type forgetfulFile struct{ slot.File }

func (f forgetfulFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	if at > 0 {
		f.File.WriteAt([]byte{b[0] ^ 1}, at)
	}
	return n, err
}

func TestReadBack(t *testing.T) {
	systems(t, func(t *testing.T, f slot.FS) {
		commit(t, f, candidate(one, config))
		_, err := open(t, forgetful{f, "EFI/EMBERB/BOOT.EFI"}).Commit(t.Context(), candidate(two, config))
		if !errors.Is(err, slot.ErrDamaged) {
			t.Error(err)
		}
		if good, err := open(t, f).Good(t.Context()); good != state.A || err != nil {
			t.Errorf("%v, %v", good, err)
		}
	})
}

func TestInterrupted(t *testing.T) {
	systems(t, func(t *testing.T, f slot.FS) {
		commit(t, f, candidate(one, config))
		ctx, cancel := context.WithCancel(t.Context())
		c := candidate(two, config)
		c.System = func() (io.ReadCloser, error) {
			cancel() // the machine is being rebooted
			return opener(two)()
		}
		if _, err := open(t, f).Commit(ctx, c); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if good, err := open(t, f).Good(t.Context()); good != state.A || err != nil {
			t.Errorf("%v, %v", good, err)
		}
	})
}

// TestNeverHealthy boots ten times without a commit.
func TestNeverHealthy(t *testing.T) {
	systems(t, func(t *testing.T, f slot.FS) {
		c := candidate(one, config)
		c.TPM = false
		commit(t, f, c)
		before := read(t, f, defaultPath)
		for i := uint32(1); i <= 10; i++ {
			if err := open(t, f).Attempt(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := open(t, f).Record().Failures(0, false); got != i {
				t.Errorf("%d failures, want %d", got, i)
			}
		}
		if good, err := open(t, f).Good(t.Context()); good != state.A || err != nil || !bytes.Equal(read(t, f, defaultPath), before) {
			t.Errorf("%v, %v", good, err)
		}
		commit(t, f, c)
		if got := open(t, f).Record().Failures(0, false); got != 0 {
			t.Errorf("%d failures after a success", got)
		}
	})
}

// TestOutside has a symbolic link, which FAT has not, lead out of the ESP.
func TestOutside(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "EFI")); err != nil {
		t.Fatal(err)
	}
	if _, err := slot.Open(slot.Dir{Root: root}, defaultPath, state.None); err == nil {
		t.Error("a link that leads out was followed")
	}
}
