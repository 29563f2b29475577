package extract

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestGiantOverlay is an overlay of 1 GB on a machine with 512 MB of memory, of which 400 are free.
func TestGiantOverlay(t *testing.T) {
	left, err := available("testdata/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	if left != 409600<<10 {
		t.Fatalf("%d bytes are available", left)
	}
	for _, test := range []struct {
		name        string
		room        room
		need, fresh int64
		text        string
	}{
		{"in memory", room{1 << 40, true, left - reserve}, 1 << 30, 1 << 30,
			"it needs 1024 MiB in /run, which has 368 MiB left: that is in memory, so give the machine more, or leave out of the overlay what can be fetched later"},
		{"in memory without a limit of its own", room{math.MaxInt64, true, left - reserve}, 1 << 30, 1 << 30,
			"it needs 1024 MiB in /run, which has 368 MiB left: that is in memory, so give the machine more, or leave out of the overlay what can be fetched later"},
		{"on a small disk", room{own: 5<<20 - 1}, 1 << 30, 1 << 30, "it needs 1024 MiB in /run, which has 5 MiB left"},
		{"on a disk", room{own: 1 << 40}, 1 << 30, 1 << 30, ""},
		{"moved within memory", room{1 << 40, true, left - reserve}, 1 << 30, 1 << 20, ""},
		{"just enough", room{1 << 20, true, 1 << 20}, 1 << 20, 1 << 20, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.room.take("/run", test.need, test.fresh)
			var tooLarge *SpaceError
			if test.text == "" && err != nil || test.text != "" && (!errors.As(err, &tooLarge) || err.Error() != test.text) {
				t.Errorf("the error is %v, not %q", err, test.text)
			}
		})
	}
}

func TestAvailableRefuses(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "other": "MemTotal: 1 kB\n", "no number": "MemAvailable: many kB\n", "giant": "MemAvailable: 99999999999999999999 kB\n"} {
		path := filepath.Join(t.TempDir(), "meminfo")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := available(path); err == nil {
			t.Errorf("%s: %d bytes are available", name, n)
		}
	}
	if _, err := available("testdata/none"); err == nil {
		t.Error("a file that is not there says something")
	}
}

// TestRoomOfThis looks at a real filesystem.
func TestRoomOfThis(t *testing.T) {
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r, err := roomOf(f, "testdata/meminfo"); err != nil || r.own <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
