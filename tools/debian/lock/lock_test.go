package main

import (
	"maps"
	"testing"
)

func TestVersions(t *testing.T) {
	got := versions([]byte("suite trixie\nlink usr/bin/cc gcc\ndeb bash 5.2 debian pool/b 1 aa\ndeb xz 5.8 debian pool/x 1 bb\n"))
	if want := (map[string]string{"bash": "5.2", "xz": "5.8"}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
