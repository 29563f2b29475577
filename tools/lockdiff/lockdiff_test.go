package lockdiff

import (
	"slices"
	"testing"
)

func TestLines(t *testing.T) {
	before := map[string]string{"bash": "5.2", "gone": "1", "same": "3"}
	after := map[string]string{"bash": "5.3", "new": "2", "same": "3"}
	want := []string{"~ bash 5.2 -> 5.3", "- gone 1", "+ new 2"}
	if got := Lines(before, after); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Lines(nil, after); len(got) != 3 {
		t.Errorf("from nothing: %q, want three additions", got)
	}
}
