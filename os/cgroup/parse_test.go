package cgroup

import (
	"slices"
	"testing"
)

func TestMakePath(t *testing.T) {
	tree := Tree{t.TempDir()}
	for _, path := range []string{"", "/a", "../a", "a/../../b"} {
		if _, err := tree.Make(path); err == nil {
			t.Errorf("a cgroup was made at %q", path)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("0\n1\n17\n-3\n4194304\n"))
	f.Fuzz(func(t *testing.T, procs []byte) {
		for _, pid := range parsePIDs(procs) {
			if pid <= 1 {
				t.Errorf("PID %d from %q", pid, procs)
			}
		}
	})
}

func TestParsePIDs(t *testing.T) {
	if got := parsePIDs([]byte("0\n1\n17\n-3\n4194304\n")); !slices.Equal(got, []int{17, 4194304}) {
		t.Errorf("got %v", got)
	}
}

func TestParsePopulated(t *testing.T) {
	for text, want := range map[string]bool{"populated 0\nfrozen 0\n": false, "frozen 0\npopulated 1\n": true} {
		if got, err := parsePopulated([]byte(text)); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "populated 2\n", "frozen 0\n"} {
		if _, err := parsePopulated([]byte(text)); err == nil {
			t.Errorf("%q has no error", text)
		}
	}
}
